"""Bytecode that is the same wherever and whenever it is compiled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.pipeline.programs import bytecode
from layerline.settings import process_environ

PROGRAM = Path(bytecode.__file__)
PREFIX = "/opt/venv"
PYTHONS = ("3.11", "3.12", "3.13")
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
