"""Which probes of an image run without its source, and how the budget counts in two runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline.image_probes import of_packages, of_source
from layerline.pipeline.probe import Probe, own_program

if TYPE_CHECKING:
    from pathlib import Path

PROBES = (
    Probe(program="owners"),
    Probe(program="orders"),
    Probe(program="absent", arguments=("nvidia-*",)),
    Probe(program="commands", arguments=("tini",)),
    Probe(program="budget", arguments=("400",)),
)


def test_what_reads_packages_alone_runs_without_the_source() -> None:
    first = list(of_packages(PROBES, "/app"))
    assert [each.program for each in first] == ["owners", "orders", "absent", "budget"]
    assert first[-1].arguments == ("400", "/app")
    rest = list(of_source(PROBES, "/app", {"budget": {"output": "1234"}}))
    assert [each.program for each in rest] == ["commands", "budget"]
    assert rest[-1].arguments == ("400", "/app", "1234")


def test_a_probe_of_the_projects_own_reads_everything() -> None:
    own = (Probe(program="probes/mine.py"), Probe(program="versions", arguments=("web==1",)))
    assert list(of_packages(own, "/app")) == []
    assert tuple(of_source(own, "/app", {})) == own


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "app/deep").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (tmp_path / "app/one").write_bytes(b"1" * 1_000)
    (tmp_path / "app/deep/two").write_bytes(b"2" * 20_000)
    (tmp_path / "lib/three").write_bytes(b"3" * 300_000)
    os.link(tmp_path / "lib/three", tmp_path / "lib/again")
    return tmp_path


def test_the_sizes_of_both_runs_are_that_of_one(tree: Path) -> None:
    measured: dict[str, object] = {}
    exec(own_program("budget"), measured)
    size = measured["size"]
    assert callable(size)
    assert size(tree) == 321_000
    assert size(tree, {f"{tree}/app"}) == 300_000
    assert size(tree / "app") == 21_000
    assert size(tree / "missing") == 0


def test_the_budget_adds_what_is_known_of_other_files(tree: Path) -> None:
    def run(megabytes: str, elsewhere: str) -> command.Finished:
        argv = [sys.executable, "-", megabytes, f"{tree}/app", elsewhere]
        return command.run(argv, stdin=own_program("budget").encode(), expect=None)

    within = run("2", "1500000")
    assert (within.status, within.stdout) == (0, b"2 of 2 MB\n")
    over = run("1", "1500000")
    assert over.status == 1
    assert over.stderr == b"the image has 1.5 MB, its budget is 1 MB\n"
