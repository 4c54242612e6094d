"""The groups: volumes that are never shared by two of them, and a check for each that can fail."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ci.modules.group import CHECKS, GROUPS, INSTALLER, Group
from ci.modules.target import Target
from layerline import command

if TYPE_CHECKING:
    from pathlib import Path


def test_each_group_and_target_has_a_cache_volume_of_its_own() -> None:
    volumes = [group.volume(target) for group in (INSTALLER, *GROUPS) for target in Target]
    assert len(set(volumes)) == len(volumes)
    assert {"uv-resolve-cpu-v2", "uv-sync-cpu-v2", "uv-pytorch-cu13-v2", "uv-cv-cu13-v2"} <= set(
        volumes
    )


def test_the_cuda_libraries_are_required_for_cuda_alone() -> None:
    jax = next(group for group in GROUPS if group.name == "jax")
    assert jax.required(Target.CU13) == ("jax[cuda13]",)
    assert jax.required(Target.CPU) == ("jax",)
    held = Group(name="jax", requirements=("jaxtyping", "jax<0.10"), cuda_extra="jax")
    assert held.required(Target.CU13) == ("jaxtyping", "jax[cuda13]<0.10")


def test_every_check_belongs_to_a_group() -> None:
    assert {path.stem for path in CHECKS.glob("*.py")} == {group.name for group in GROUPS}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_a_check_fails_where_the_group_is_not_installed(group: Group, tmp_path: Path) -> None:
    text = group.check().encode()
    done = command.run([sys.executable, "-I", "-"], stdin=text, cwd=tmp_path, expect=None)
    assert done.status != 0
    assert b"ModuleNotFoundError" in done.stderr
