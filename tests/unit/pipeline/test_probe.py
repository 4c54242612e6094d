"""The probes: what gates a layer, and that each can fail where nothing is installed."""

from __future__ import annotations

import json
import os
import sys
import time
import venv
from pathlib import Path

import pytest

import layerline.pipeline.probe
from layerline import command
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.image import EPOCH
from layerline.pipeline.partition import partition
from layerline.pipeline.probe import of_image, of_layer, own_program
from layerline.settings import process_environ
from tests.unit.pipeline.test_partition import TOML, lock_text

RUN = Path(layerline.pipeline.probe.__file__).parent / "probes" / "run.py"
COMPUTING = ("api", "core", "cv", "jax", "jupyter", "pytorch")


@pytest.mark.parametrize("name", COMPUTING)
def test_a_computation_fails_where_its_packages_are_not(name: str, tmp_path: Path) -> None:
    text = own_program(name).encode()
    done = command.run([sys.executable, "-I", "-S", "-"], stdin=text, cwd=tmp_path, expect=None)
    assert b"ModuleNotFoundError" in done.stderr


def run_probes(tmp_path: Path, *probes: tuple[str, list[str]]) -> tuple[int, str, str]:
    asked = {"subject": "here", "packages": ["pytest"], "probes": probes}
    place = tmp_path / "programs"
    place.mkdir()
    for name, _ in (("run", []), *probes):
        (place / f"{name}.py").write_text(own_program(name))
    argv = [sys.executable, "-I", str(place / "run.py")]
    done = command.run(argv, stdin=json.dumps(asked).encode(), cwd=tmp_path, expect=None)
    return done.status, done.stdout.decode(), done.stderr.decode()


def test_evidence_says_what_was_found(tmp_path: Path) -> None:
    status, output, _ = run_probes(tmp_path, ("imports", ["pytest"]), ("commands", ["sh"]))
    evidence = json.loads(output)
    assert status == 0
    assert [(one["probe"], one["result"]) for one in evidence["probes"]] == [
        ("imports", "passed"),
        ("commands", "passed"),
    ]
    assert evidence["packages"][0]["version"] == pytest.__version__


@pytest.mark.parametrize(
    ("probe", "arguments", "said"),
    [
        ("versions", ["pytest==1"], f"pytest is {pytest.__version__}, locked is 1"),
        ("versions", ["nowhere==1"], "nowhere is not installed, locked is 1"),
        ("absent", ["pytest"], "do not belong into this image: pytest"),
        ("commands", ["no-such-command"], "not on the PATH: no-such-command"),
        ("imports", ["nowhere"], "PackageNotFoundError"),
    ],
)
def test_a_probe_that_fails_ends_the_run_and_shows_why(
    probe: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    status, output, error = run_probes(tmp_path, (probe, arguments))
    assert (status, output) == (1, "")
    assert said in error
    assert error.rstrip().endswith(f"probe {probe!r} of here failed with exit code 1")


def environment(place: Path) -> Path:
    """A new virtual environment; where its packages lie."""
    venv.create(place, symlinks=True)
    [site] = place.glob("lib/python*/site-packages")
    return site


def install_package(site: Path, value: int) -> None:
    """A package that says a value of one digit when it is imported; its files have one time."""
    for name, text in {
        "example/__init__.py": f"print({value})\n",
        "example-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: example\nVersion: 1\n",
        "example-1.dist-info/RECORD": f"example/__init__.py,sha256={value},9\n",
    }.items():
        path = site / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (EPOCH, EPOCH))


def probe_output(python: Path, bytecode: Path, place: Path) -> str:
    """What the package says in a run of the probes that begins with an empty directory."""
    place.mkdir()
    asked = {"subject": "here", "packages": [], "probes": [("imports", ["example"])]}
    environ = {**process_environ(), "BYTECODE": str(bytecode)}
    argv = [python, RUN]
    done = command.run(argv, stdin=json.dumps(asked).encode(), cwd=place, env=environ)
    output: str = json.loads(done.stdout)["probes"][0]["output"]
    return output


def test_bytecode_of_a_package_is_read_again_and_never_for_another_version(tmp_path: Path) -> None:
    site = environment(tmp_path / "venv")
    python, bytecode = tmp_path / "venv/bin/python", tmp_path / "bytecode"
    bytecode.mkdir()
    install_package(site, 1)
    assert probe_output(python, bytecode, tmp_path / "first") == "1\nexample"
    [kept] = bytecode.iterdir()
    [compiled] = kept.iterdir()
    before = compiled.stat().st_mtime_ns
    assert probe_output(python, bytecode, tmp_path / "again") == "1\nexample"
    assert compiled.stat().st_mtime_ns == before
    install_package(site, 2)
    assert probe_output(python, bytecode, tmp_path / "changed") == "2\nexample"


def test_bytecode_that_nobody_uses_goes(tmp_path: Path) -> None:
    bytecode = tmp_path / "bytecode"
    old, new = bytecode / "old-1", bytecode / "new-1"
    for directory, age in ((old, 15 * 86400), (new, 86400)):
        directory.mkdir(parents=True)
        os.utime(directory, (time.time() - age,) * 2)
    site = environment(tmp_path / "venv")
    install_package(site, 1)
    probe_output(tmp_path / "venv/bin/python", bytecode, tmp_path / "run")
    assert not old.exists()
    assert new.exists()


def test_a_layer_is_checked_by_its_versions_libraries_imports_and_its_own_probe() -> None:
    toml = TOML.replace('["torch"]', '["torch"]\nprobes = ["pytorch"]\nmissing = ["libx.so.*"]')
    definition = parse_definition(toml)
    layer = partition(lock_text(), definition, "cu13").layers["pytorch"]
    assert [(probe.name, probe.arguments) for probe in of_layer(layer, definition, "cu13")] == [
        ("versions", ("sympy==1", "torch==1")),
        ("libraries", ("libx.so.*", "", "sympy", "torch")),
        ("imports", ("torch",)),
        ("pytorch", ("",)),
    ]


def test_an_image_without_cuda_must_hold_no_cuda() -> None:
    definition = parse_definition(TOML)
    names = [probe.name for probe in of_image(definition.image("dev"), definition)]
    assert names == ["owners", "orders", "absent"]
    cuda = parse_definition(TOML.replace("[targets.cu13]", '[targets.cu13]\ncuda = "13"'))
    assert [probe.name for probe in of_image(cuda.image("dev"), cuda)][2:] == ["single"]
