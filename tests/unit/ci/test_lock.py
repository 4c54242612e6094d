"""The partition of a lock: who belongs to whom, and that later groups stay out of earlier steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.modules.group import GROUPS, INSTALLER, OVERRIDES
from ci.modules.lock import LockError, parse, partition
from ci.modules.target import Target

LOCKS = Path(__file__).parents[3] / "locks"
GROUPS_OF = {
    target: {group.name: group.required(target) for group in (INSTALLER, *GROUPS)}
    for target in Target
}
LOCK = """\
jax==0.10.2 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.4.6 \\
    --hash=sha256:cc
    # via jax, torch
Opt_Einsum==3.4.0 \\
    --hash=sha256:dd
    # via jax
torch==2.14.1 \\
    --hash=sha256:ee
"""
WANTED = {"pytorch": ["torch==2.14.*"], "jax": ["jax[cuda13]"]}


def test_a_shared_package_belongs_to_the_first_group_that_needs_it() -> None:
    parts = partition(LOCK, WANTED)
    assert parts["pytorch"] == (
        "numpy==2.4.6 \\\n    --hash=sha256:cc\ntorch==2.14.1 \\\n    --hash=sha256:ee\n"
    )
    assert parts["jax"].splitlines()[0] == "jax==0.10.2 \\"
    assert "Opt_Einsum==3.4.0" in parts["jax"]


def test_a_later_groups_lines_do_not_reach_an_earlier_group() -> None:
    newer = LOCK.replace("jax==0.10.2", "jax==0.10.3").replace("sha256:aa", "sha256:ff")
    before, after = partition(LOCK, WANTED), partition(newer, WANTED)
    assert before["pytorch"] == after["pytorch"]
    assert before["jax"] != after["jax"]


def test_who_wants_a_shared_package_does_not_change_its_lines() -> None:
    assert (
        partition(LOCK, WANTED)["pytorch"]
        == (partition(LOCK.replace("# via jax, torch", "# via torch"), WANTED)["pytorch"])
    )


def test_a_requirement_that_is_not_locked_is_named() -> None:
    with pytest.raises(LockError, match="the lock lacks ultralytics; make the lock anew"):
        partition(LOCK, {**WANTED, "cv": ["ultralytics"]})


def test_a_package_that_no_group_wants_is_named() -> None:
    with pytest.raises(LockError, match="no group asks for jax, opt-einsum"):
        partition(LOCK, {"pytorch": ["torch"]})


def test_a_line_that_pins_nothing_is_refused() -> None:
    with pytest.raises(LockError, match=r"'numpy>=2', which pins nothing"):
        parse("numpy>=2\n")


@pytest.mark.parametrize("target", Target)
def test_the_committed_locks_give_every_package_to_one_group(target: Target) -> None:
    text = (LOCKS / f"{target.value}.txt").read_text()
    parts = partition(text, GROUPS_OF[target])
    owners = [name for part in parts.values() for name in parse(part)]
    assert sorted(owners) == sorted(parse(text))
    assert "opencv-python" not in owners
    assert "opencv-python" in OVERRIDES


def test_only_the_cuda_target_carries_jaxs_cuda_plugin() -> None:
    plugin = "jax-cuda13-plugin"
    locked = {target: parse((LOCKS / f"{target.value}.txt").read_text()) for target in Target}
    assert plugin in locked[Target.CU13]
    assert plugin not in locked[Target.CPU]
