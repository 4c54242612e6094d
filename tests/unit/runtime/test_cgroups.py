"""Cgroups of sessions, on the real hierarchy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.runtime.cgroups import Cgroups, sweep_dead_sessions
from layerline.engine.runtime.hierarchies import find_hierarchies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def cgroups(writable_cgroups: None) -> Iterator[Cgroups]:  # noqa: ARG001
    """A session's cgroups, where there are any."""
    session = Cgroups()
    assert session.path("c") is not None
    yield session
    session.close()


@pytest.fixture
def dead(cgroups: Cgroups) -> list[Path]:
    """What a session that was killed left: a container's cgroup in each hierarchy."""
    places = [each.place / "layerline/dead" for each in cgroups.hierarchies]
    for place in places:
        (place / "c1").mkdir(parents=True)
    return places


def test_the_next_start_sweeps_what_a_dead_session_left(dead: list[Path]) -> None:
    sweep_dead_sessions()
    assert [place for place in dead if place.exists()] == []


def test_what_only_some_hierarchies_still_have_is_swept(dead: list[Path]) -> None:
    (dead[0] / "c1").rmdir()
    dead[0].rmdir()
    sweep_dead_sessions()
    assert [place for place in dead if place.exists()] == []


def test_processes_of_a_dead_session_are_ended(cgroups: Cgroups, dead: list[Path]) -> None:
    pids = cgroups.directory("pids")
    assert pids is not None
    survivor = command.start(["sleep", "100"])
    try:
        (pids.parent / "dead/c1/cgroup.procs").write_text(str(survivor.pid))
        sweep_dead_sessions()
        assert survivor.wait(timeout=5) == -9
        assert [place for place in dead if place.exists()] == []
    finally:
        survivor.kill()


def test_a_living_session_is_left_alone(cgroups: Cgroups) -> None:
    path = cgroups.path("c1")
    assert path is not None
    place = cgroups.hierarchies[0].mount / path[1:]
    place.mkdir()
    Cgroups().close()
    assert place.exists()
    cgroups.close()
    assert not place.parent.exists()


def test_a_container_is_removed_with_what_it_left_running(cgroups: Cgroups) -> None:
    place = cgroups.directory("pids", "c1")
    assert place is not None
    (place / "inner").mkdir(parents=True)
    left = command.start(["sleep", "100"])
    (place / "inner/cgroup.procs").write_text(str(left.pid))
    began = time.monotonic()
    cgroups.remove("c1")
    assert time.monotonic() - began < 1
    assert left.wait(timeout=5) == -9
    assert not place.exists()


def test_without_cgroups_a_container_has_no_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    session = Cgroups(find_hierarchies(tmp_path_factory.mktemp("none")))
    assert session.path("c") is None
    assert session.directory("memory") is None
    assert session.processes("c") == []
    session.close()
