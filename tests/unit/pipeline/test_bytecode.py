"""Bytecode that is the same wherever and whenever it is compiled."""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import shutil
import struct
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from types import CodeType

import pytest

from layerline import command
from layerline.pipeline.programs import bytecode
from layerline.settings import process_environ

PROGRAM = Path(bytecode.__file__)
PREFIX = "/opt/venv"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Constants whose marks in what Python itself writes depend on what the process did before, and a
# set whose order depends on the seed of the hashes.
SOURCE = '''\
"""A module."""
MARKS = ("-", "a name", "name", b"bytes", 1.5, 2j, 1 << 70, None, True, ...)


def chosen(value, *, among=("-", "a name")):
    """Whether a value is known."""
    return value in {"-", "a name", "name", "x", "y", "z", ("-", "q"), 7}


class Kept:
    def method(self):
        return [each for each in MARKS if each != "a name"]
'''
# What CPython 3.14.8 wrote (marshal.dumps, version 5) of one module whose constants are slices,
# sets and large numbers: in a new process, and in one that has its strings and parts as well.
FRESH_3_14 = bytes.fromhex(
    "e30000000000000000000000000200000000000000f31c0000008000520552062e027400520152022f0152031700"
    "6c027401520423002907fa03612062da047374657067000000000000044063010000000000000001000000060000"
    "0003000000f3440000008000560052002c1a00000000000000000000560052002c1a000000000000000000005600"
    "52012c1a00000000000000000000300052026d0156005203390000003305230029043ae901000000e905000000e9"
    "020000003a4ee9070000004e3e03000000a902da01786c0500000000000000000000000004da0363757472020000"
    "003e040000007209000000da0171720b0000007202000000a9002902da0676616c75657372030000007302000000"
    "2624da0e2f6f70742f76656e762f6d2e7079720b000000720b0000000200000073350000008000d80b1190258d3d"
    "9826a0159d2da816b002ad1ad23553d0565cf0000061014402f1000057014402f000000c4402f00000054402f300"
    "0000004eda01202902f402000000c3a972020000002902da054e414d4553720b000000720d000000721000000072"
    "0f000000da083c6d6f64756c653e721400000001000000731d000000f003010101d80913905dd008238005f00201"
    "0144029803f600010144027210000000"
)
USED_3_14 = bytes.fromhex(
    "e30000000000000000000000000200000000000000f31c0000008000520552062e027400520152022f0152031700"
    "6c02740152042300a907fa03612062da0473746570e70000000000000440e3010000000000000001000000060000"
    "0003000000f3440000008000560052002c1a00000000000000000000560052002c1a000000000000000000005600"
    "52012c1a00000000000000000000300052026d01560052033900000033052300a904bae901000000e905000000e9"
    "02000000ba4ee9070000004ebe03000000a902da01786c0500000000000000000000000004da0363757472030000"
    "00be040000007210000000da017172120000007203000000a9002902da0676616c75657372040000007302000000"
    "2624da0e2f6f70742f76656e762f6d2e70797212000000721200000002000000f3350000008000d80b1190258d3d"
    "9826a0159d2da816b002ad1ad23553d0565cf0000061014402f1000057014402f000000c4402f00000054402f300"
    "0000004eda0120a902f402000000c3a97203000000a902da054e414d455372120000007215000000721900000072"
    "17000000da083c6d6f64756c653e721f00000001000000731d000000f003010101d80913905dd008238005f00201"
    "0144029803f600010144027219000000"
)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    packages = tmp_path / "layer/lib/python3/site-packages"
    (packages / "one").mkdir(parents=True)
    (packages / "one/__init__.py").write_text(SOURCE)
    (packages / "one/template.py").write_text("def {{ name }}():\n")
    (packages / "two.py").write_text("from one import *\n")
    (packages / "linked.py").symlink_to("two.py")
    (tmp_path / "layer/bin").mkdir()
    (tmp_path / "layer/bin/script.py").write_text("print()\n")
    return tmp_path / "layer"


def python(version: str) -> Path:
    for name in (f"python{version}", *(("python3",) if version == "3.11" else ())):
        found = command.find(name, path=process_environ().get("PATH", ""))
        if found is not None and said(found) == version:
            return found
    here = ".".join(map(str, sys.version_info[:2]))
    if here != version:
        pytest.skip(f"Python {version} is not installed")
    return Path(sys.executable)


def said(interpreter: Path) -> str:
    text = "import sys; print('%d.%d' % sys.version_info[:2])"
    return command.run([interpreter, "-c", text], expect=None).stdout.decode().strip()


def compile_layer(layer: Path, output: Path, *, by: Path | str, seed: int = 0) -> dict[str, object]:
    environ = {"PYTHONHASHSEED": str(seed), "PATH": "/usr/bin:/bin"}
    done = command.run([by, "-S", PROGRAM, layer, output, PREFIX], env=environ)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def digests(output: Path) -> dict[str, str]:
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*.pyc"))
    }


@pytest.mark.parametrize("version", PYTHONS)
def test_the_seed_of_the_hashes_changes_nothing(layer: Path, tmp_path: Path, version: str) -> None:
    interpreter = python(version)
    found = []
    for seed in range(4):
        output = tmp_path / f"output-{seed}"
        made = compile_layer(layer, output, by=interpreter, seed=seed)
        assert made["files"] == 2
        assert made["left_out"] == ["lib/python3/site-packages/one/template.py"]
        found.append(digests(output))
    assert len(found[0]) == 2
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("version", PYTHONS)
def test_what_the_process_did_before_changes_nothing(tmp_path: Path, version: str) -> None:
    """The version that Python writes marks interned strings, which others may have interned."""
    source = tmp_path / "module.py"
    source.write_text(SOURCE)
    text = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); {{}}"
        f"import bytecode; data = open({str(source)!r}, 'rb').read(); "
        "sys.stdout.write(bytecode.compiled(data, '/opt/venv/module.py').hex())"
    )
    before = ("", "sys.intern('-'); sys.intern('a name'); import decimal, argparse; ")
    found = {
        command.run([python(version), "-I", "-S", "-c", text.format(each)]).stdout
        for each in before
    }
    assert len(found) == 1


def test_what_python_3_14_writes_of_a_module_becomes_the_same() -> None:
    assert FRESH_3_14 != USED_3_14
    [written] = {bytecode.Canonical(each).written() for each in (FRESH_3_14, USED_3_14)}
    assert bytecode.Canonical(written).written() == written
    assert len(written) <= len(FRESH_3_14)
    assert written.count(b":") == 2  # slices, which no older version has


@pytest.mark.parametrize("version", [3, 4])
def test_canonical_references_are_read_as_the_same_code(version: int) -> None:
    """Versions 3 to 5 differ in short forms and slices alone: each Python can read this one."""
    code = compile(SOURCE, "/opt/venv/module.py", "exec", dont_inherit=True)
    held = [code.co_consts, code.co_names]  # more references, so more marks
    written = bytecode.Canonical(marshal.dumps(code, version)).written()
    assert marshal.loads(written) == code
    assert [code.co_consts, code.co_names] == held
    *_, method = (each for each in marshal.loads(written).co_consts if isinstance(each, CodeType))
    assert method.co_filename == "/opt/venv/module.py"


def test_a_set_is_in_the_order_of_its_values() -> None:
    """Python sorts by what it writes of each, and that has marks: two orders of one set."""
    one, other = b"\xda\x01b", b"z\x01a"
    streams = (b">\x02\0\0\0" + one + other, b">\x02\0\0\0" + other + one)
    [written] = {bytecode.Canonical(each).written() for each in streams}
    assert marshal.loads(written) == frozenset("ab")


def test_a_constant_that_has_the_bytes_of_a_name_stays() -> None:
    """The name of the file becomes interned; not what looks like it within a text."""
    path = "/opt/venv/m.py"
    text = "u" + struct.pack("<i", len(path)).decode() + path
    content = bytecode.compiled(f"TEXT = {text!r}\nTAIL = 1\n".encode(), path)
    code = marshal.loads(content[16:])
    assert text in code.co_consts


def test_nothing_of_the_layer_is_run(layer: Path, tmp_path: Path) -> None:
    packages = layer / "lib/python3/site-packages"
    ran = tmp_path / "ran"
    write = f"open({str(ran)!r}, 'w')"
    (packages / "one.pth").write_text(f"import sys; {write}\n")
    (packages / "sitecustomize.py").write_text(f"{write}\n")
    made = compile_layer(layer, tmp_path / "output", by=sys.executable)
    assert made["files"] == 3
    assert not ran.exists()


def test_an_edit_of_the_same_size_and_time_is_seen(layer: Path, tmp_path: Path) -> None:
    """PEP 552: a checked hash; by time and size the edit would be ignored."""
    packages = layer / "lib/python3/site-packages"
    edited = packages / "value.py"
    edited.write_text("VALUE = 1\n")
    compile_layer(layer, tmp_path / "output", by=sys.executable)
    shutil.copytree(tmp_path / "output", layer, dirs_exist_ok=True)
    cached = Path(packages / "__pycache__" / f"value.{sys.implementation.cache_tag}.pyc")
    before = cached.read_bytes()
    info = edited.stat()
    edited.write_text("VALUE = 2\n")
    os.utime(edited, ns=(info.st_atime_ns, info.st_mtime_ns))
    environ = {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    show = "import value; print(value.VALUE, value.__cached__)"
    done = command.run([sys.executable, "-c", show], env=environ)
    assert done.stdout.decode().split() == ["2", str(cached)]
    assert cached.read_bytes() == before


def test_a_layer_without_modules_has_an_empty_directory_to_copy(tmp_path: Path) -> None:
    """A Dockerfile copies it whatever is in it."""
    (tmp_path / "layer/lib").mkdir(parents=True)
    made = compile_layer(tmp_path / "layer", tmp_path / "output", by=sys.executable)
    assert made["files"] == 0
    assert list((tmp_path / "output").iterdir()) == []


def test_python_takes_the_files(layer: Path, tmp_path: Path) -> None:
    """An import that finds its bytecode does not compile: the compiler is taken away."""
    compile_layer(layer, tmp_path / "output", by=sys.executable)
    shutil.copytree(tmp_path / "output", layer, dirs_exist_ok=True)
    show = (
        "import importlib._bootstrap_external as b; "
        "b.SourceFileLoader.source_to_code = None; "
        "import two; print(two.chosen('z'), two.chosen('w'), two.chosen.__code__.co_filename)"
    )
    environ = {"PYTHONPATH": str(layer / "lib/python3/site-packages")}
    done = command.run([sys.executable, "-c", show], env=environ)
    assert done.stdout.decode().split()[:2] == ["True", "False"]


def test_every_file_has_the_time_of_the_images(layer: Path, tmp_path: Path) -> None:
    compile_layer(layer, tmp_path / "output", by=sys.executable)
    found = [tmp_path / "output", *(tmp_path / "output").rglob("*")]
    assert {path.stat().st_mtime for path in found} == {bytecode.EPOCH}


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_twenty_builds_have_one_digest(tmp_path: Path, version: str) -> None:
    """Of four packages, together or in parts, with any seed, in one process or in several."""
    packages = tmp_path / "layer/lib/python3/site-packages"
    site = Path(pytest.__file__).parents[1]
    for name in ("_pytest", "pluggy", "anyio", "packaging"):
        shutil.copytree(site / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    interpreter = python(version)
    random = Random(19)
    found = set()
    for build in range(20):
        output = tmp_path / f"output-{build}"
        names = sorted(each.name for each in packages.iterdir())
        random.shuffle(names)
        parts = [names] if build % 2 else [[name] for name in names]
        step = partial(compile_part, tmp_path, output=output, by=interpreter, seed=build)
        with ThreadPoolExecutor(2) as pool:  # steps of one layer run in parallel
            list(pool.map(step, parts))
        found.add(json.dumps(digests(output)))
    assert len(found) == 1
    assert len(json.loads(found.pop())) > 100


def compile_part(place: Path, names: list[str], *, output: Path, by: Path, seed: int) -> None:
    """Compile some packages of the layer, as a step does that has these alone."""
    part = Path(tempfile.mkdtemp(dir=place))
    packages = part / "lib/python3/site-packages"
    packages.mkdir(parents=True)
    for name in names:  # in this order on the disk
        shutil.copytree(place / "layer/lib/python3/site-packages" / name, packages / name)
    compile_layer(part, output, by=by, seed=seed)
