"""A release is tagged with the version that the package has."""

from __future__ import annotations

from pathlib import Path

import pytest

import layerline
from layerline import command

HOME = Path(__file__).parents[2]


def test_the_tag_is_the_version() -> None:
    git: list[str | Path] = ["git", "-c", f"safe.directory={HOME}", "-C", HOME]
    done = command.run([*git, "tag", "--points-at", "HEAD"], expect=(0, 128))
    tags = done.stdout.decode().split()
    if not tags:
        pytest.skip("this commit has no tag")
    assert f"v{layerline.__version__}" in tags


def test_the_changelog_has_a_section_for_the_version_or_for_what_comes_next() -> None:
    text = (HOME / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{layerline.__version__}]" in text
