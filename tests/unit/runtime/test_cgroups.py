"""Cgroups of sessions, on the real hierarchy."""

from __future__ import annotations

import pytest

from layerline.engine.runtime.cgroups import ROOT, Cgroups, _hierarchies


@pytest.fixture
def cgroups(root: None) -> Cgroups:  # noqa: ARG001
    """A session's cgroups, where there are any."""
    session = Cgroups()
    if session.path("c") is None:
        pytest.skip("no writable cgroups")
    return session


def test_the_next_start_sweeps_what_a_dead_session_left(cgroups: Cgroups) -> None:
    dead = [place / "layerline/dead" for place in _hierarchies(ROOT)]
    for place in dead:
        (place / "c1").mkdir(parents=True)
    Cgroups().close()
    assert [place for place in dead if place.exists()] == []
    cgroups.close()


def test_a_living_session_is_left_alone(cgroups: Cgroups) -> None:
    path = cgroups.path("c1")
    assert path is not None
    place = _hierarchies(ROOT)[0] / path[1:]
    place.mkdir()
    Cgroups().close()
    assert place.exists()
    cgroups.close()
    assert not place.parent.exists()


def test_without_cgroups_a_container_has_no_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    session = Cgroups(tmp_path_factory.mktemp("none"))
    assert session.path("c") is None
    assert session.processes("c") == []
    session.close()
