"""The probes: what gates a layer, and that each can fail where nothing is installed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from ci.modules.definition import read
from ci.modules.layer import partition
from ci.modules.probe import PROBES, of_image, of_layer
from layerline import command
from tests.unit.ci.test_layer import TOML, locked

if TYPE_CHECKING:
    from pathlib import Path

COMPUTING = ("api", "core", "cv", "jax", "jupyter", "pytorch")


@pytest.mark.parametrize("name", COMPUTING)
def test_a_computation_fails_where_its_packages_are_not(name: str, tmp_path: Path) -> None:
    text = (PROBES / f"{name}.py").read_bytes()
    done = command.run([sys.executable, "-I", "-S", "-"], stdin=text, cwd=tmp_path, expect=None)
    assert b"ModuleNotFoundError" in done.stderr


def run(tmp_path: Path, *probes: tuple[str, list[str]]) -> tuple[int, str, str]:
    asked = {"subject": "here", "packages": ["pytest"], "probes": probes}
    argv = [sys.executable, "-I", str(PROBES / "run.py")]
    done = command.run(argv, stdin=json.dumps(asked).encode(), cwd=tmp_path, expect=None)
    return done.status, done.stdout.decode(), done.stderr.decode()


def test_evidence_says_what_was_found(tmp_path: Path) -> None:
    status, output, _ = run(tmp_path, ("imports", ["pytest"]), ("commands", ["sh"]))
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
        ("versions", ["nowhere==1"], "nowhere is not there, locked is 1"),
        ("absent", ["pytest"], "do not belong into this image: pytest"),
        ("commands", ["no-such-command"], "not on the PATH: no-such-command"),
        ("imports", ["nowhere"], "PackageNotFoundError"),
    ],
)
def test_a_probe_that_fails_ends_the_run_and_shows_why(
    probe: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    status, output, error = run(tmp_path, (probe, arguments))
    assert (status, output) == (1, "")
    assert said in error
    assert error.rstrip().endswith(f"probe {probe!r} of here failed with exit code 1")


def test_a_layer_is_gated_by_its_versions_libraries_imports_and_its_own_probe() -> None:
    toml = TOML.replace('["torch"]', '["torch"]\nprobes = ["pytorch"]\nmissing = ["libx.so.*"]')
    definition = read(toml)
    layer = partition(locked(), definition, "cu13").layers["pytorch"]
    assert [(probe.name, probe.arguments) for probe in of_layer(layer, definition, "cu13")] == [
        ("versions", ("sympy==1", "torch==1")),
        ("libraries", ("libx.so.*", "sympy", "torch")),
        ("imports", ("torch",)),
        ("pytorch", ("",)),
    ]


def test_an_image_without_cuda_must_hold_no_cuda() -> None:
    definition = read(TOML)
    names = [probe.name for probe in of_image(definition.image("dev"), definition)]
    assert names == ["owners", "orders", "absent"]
    cuda = read(TOML.replace("[targets.cu13]", '[targets.cu13]\ncuda = "13"'))
    assert [probe.name for probe in of_image(cuda.image("dev"), cuda)][2:] == ["single"]
