"""Whether the engine can limit a step by cgroups, or has only rlimits for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.mounts import Mount
    from layerline.doctor.subject import Subject

_CONTROLLERS = ("memory", "pids")


def check_step_limits(subject: Subject) -> Iterator[Observation]:
    """The controllers that limit steps are in a hierarchy in which groups can be created."""
    mounts = [mount for mount in subject.mounts if mount.kind in ("cgroup", "cgroup2")]
    if not mounts:
        message = "no cgroup hierarchy is mounted"
        raise NotApplicable(message)
    missing = [
        name for name in _CONTROLLERS if not any(_has(mount, name, subject) for mount in mounts)
    ]
    if not missing:
        return
    commands = (
        ("docker run --privileged --cgroupns=host …",)
        if subject.uid == 0
        else ("systemd-run --user --scope --property=Delegate=yes layerline call …",)
    )
    yield Observation(
        f"no group with the {' and '.join(missing)} controller can be created here",
        commands,
        facts={"controllers": missing},
    )


def _has(mount: Mount, controller: str, subject: Subject) -> bool:
    root = Path(mount.target)
    if mount.kind == "cgroup":
        return controller in mount.options and os.access(root, os.W_OK)
    own = root / _own_group(subject)
    groups = [group for group in (own, *own.parents) if group == root or root in group.parents]
    return any(_delegates(group, controller, subject) for group in groups)


def _own_group(subject: Subject) -> str:
    """The path of this process's group of version 2. See cgroups(7)."""
    for line in subject.text(subject.proc / "self/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].strip("/")
    return ""


def _delegates(group: Path, controller: str, subject: Subject) -> bool:
    """Whether groups in a group can have a controller: no process may be in it, but in the root."""
    if not all(os.access(group / name, os.W_OK) for name in (".", "cgroup.procs")):
        return False
    if controller in subject.text(group / "cgroup.subtree_control").split():
        return True
    is_root = not (group / "cgroup.type").exists()
    has_processes = bool(subject.text(group / "cgroup.procs"))
    available = controller in subject.text(group / "cgroup.controllers").split()
    return available and (is_root or not has_processes)


CHECKS = (
    Check(
        name="step-limits",
        title="cgroups limit steps",
        severity=Severity.MEDIUM,
        impact="A step is limited by rlimits: memory for each process, processes for each user.",
        fix="Run in a group that is delegated to this user, or where the hierarchy is writable.",
        run=check_step_limits,
    ),
)
