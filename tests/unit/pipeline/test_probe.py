"""The probes: what gates a layer, and that each can fail where nothing is installed."""

from __future__ import annotations

import json
import sys
import venv
from pathlib import Path

import pytest

import layerline.pipeline.probe
from layerline import command
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.partition import partition
from layerline.pipeline.probe import of_image, of_layer, own_program
from layerline.settings import process_environ
from tests.unit.pipeline.test_partition import TOML, lock_text

RUN = Path(layerline.pipeline.probe.__file__).parent / "probes" / "run.py"
PROGRAM = Path(layerline.pipeline.probe.__file__).parent / "programs" / "bytecode.py"
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


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The packages of a new virtual environment, one of which says its value when imported."""
    venv.create(tmp_path / "venv", symlinks=True)
    [site] = tmp_path.glob("venv/lib/python*/site-packages")
    for name, text in {
        "example/__init__.py": "print(1)\n",
        "example-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: example\nVersion: 1\n",
        "example-1.dist-info/RECORD": "example/__init__.py,sha256=x,9\n",
    }.items():
        path = site / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return site


def probe_twice(python: Path, place: Path, environ: dict[str, str]) -> list[str]:
    """What the package says to two probes of one run, which has no bytecode of its own."""
    asked = {"subject": "here", "packages": [], "probes": [("imports", ["example"])] * 2}
    own = {**process_environ(), "PYTHONDONTWRITEBYTECODE": "1", **environ}
    done = command.run([python, RUN], stdin=json.dumps(asked).encode(), cwd=place, env=own)
    return [each["output"] for each in json.loads(done.stdout)["probes"]]


def test_probes_read_the_bytecode_of_packages_and_write_none(site: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    output = tmp_path / "output"
    prefix = tmp_path / "venv"
    command.run([python, "-I", "-S", PROGRAM, prefix, output, prefix])
    [compiled] = output.rglob("__init__.*.pyc")
    # A value that the source does not have, with the hash of the source.
    marked = compiled.read_bytes().replace(b"i\x01\0\0\0", b"i\x02\0\0\0")
    (site / "example/__pycache__").mkdir()
    (site / "example/__pycache__" / compiled.name).write_bytes(marked)
    before = sorted(tmp_path.rglob("*.pyc"))
    environ = dict(each.split("=", 1) for each in layerline.pipeline.probe.environ(compiled=True))
    assert probe_twice(python, tmp_path, environ) == ["2\nexample"] * 2
    assert sorted(tmp_path.rglob("*.pyc")) == before


@pytest.mark.usefixtures("site")
def test_without_bytecode_a_probe_reads_what_the_one_before_has_compiled(tmp_path: Path) -> None:
    environ = dict(each.split("=", 1) for each in layerline.pipeline.probe.environ(compiled=False))
    environ["PYTHONPYCACHEPREFIX"] = str(tmp_path / "temporary")
    found = probe_twice(tmp_path / "venv/bin/python", tmp_path, environ)
    assert found == ["1\nexample"] * 2
    [kept] = (tmp_path / "temporary").rglob("example/*.pyc")
    assert kept.name.startswith("__init__.")


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
