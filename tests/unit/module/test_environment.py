"""What makes an environment another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layerline.engine.module.environment import environment_key
from layerline.engine.module.project import Project

PROJECT = Project(
    directory=Path("/nowhere"),
    name="sample",
    version="1",
    requires_python=">=3.11",
    dependencies=("dagger-io", "attrs"),
    entry_point=None,
    package="sample",
    main_object="Sample",
    paths=("src",),
    built=False,
    lock=None,
)


@pytest.mark.parametrize(
    "other",
    [
        replace(PROJECT, dependencies=("attrs", "dagger-io")),
        replace(PROJECT, name="other", package="other", version="2", directory=Path("/else")),
    ],
)
def test_the_same_needs_share_an_environment(other: Project) -> None:
    assert environment_key(PROJECT, "a") == environment_key(other, "b")


@pytest.mark.parametrize(
    "other",
    [
        replace(PROJECT, dependencies=("dagger-io",)),
        replace(PROJECT, requires_python=">=3.10"),
        replace(PROJECT, built=True),
    ],
)
def test_other_needs_do_not(other: Project) -> None:
    assert environment_key(PROJECT, "a") != environment_key(other, "a")


def test_a_built_project_counts_with_its_files() -> None:
    built = replace(PROJECT, built=True)
    assert environment_key(built, "a") != environment_key(built, "b")


def test_a_lock_counts_with_its_content(tmp_path: Path) -> None:
    locked = replace(PROJECT, directory=tmp_path, lock="requirements.lock")
    keys = set()
    for text in ("attrs==1\n", "attrs==2\n"):
        (tmp_path / "requirements.lock").write_text(text)
        keys.add(environment_key(locked, "a"))
    assert len(keys) == 2
    assert environment_key(PROJECT, "a") not in keys
