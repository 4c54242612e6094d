"""What an ordinary user needs to build without root, checked by trying."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command, rootless
from layerline.doctor.finding import Check, NotApplicable, Observation, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

_APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
_PROFILE = Path("/etc/apparmor.d/layerline")
_MAPPERS = ("newuidmap", "newgidmap")
_CAPABILITY = "security.capability"
_CAP_SYS_ADMIN = 21  # capabilities(7), linux/capability.h


def check_user_namespaces(subject: Subject) -> Iterator[Observation]:
    """Tried in a child process; where it fails, the setting that forbids it is named."""
    if subject.capabilities.user_namespaces:
        return
    found = rootless.find_hindrances(subject.proc / "sys")
    commands = tuple(
        line
        for each in found
        for line in (_install_profile(subject) if each.setting == _APPARMOR else (each.command,))
    )
    why = f" ({', '.join(each.text for each in found)})" if found else ""
    facts = {"settings": [each.setting for each in found]}
    yield Observation(f"user namespaces are refused{why}", commands, facts=facts)


def _install_profile(subject: Subject) -> tuple[str, ...]:
    """The commands that let the Python of the tool create user namespaces, and nothing else."""
    python = Path(subject.tool[0] if subject.tool else sys.executable).resolve()
    lines = shlex.join(rootless.apparmor_profile(python).splitlines())
    return (
        f"printf '%s\\n' {lines} | sudo tee {_PROFILE}",
        f"sudo apparmor_parser --replace {_PROFILE}",
    )


def check_subordinate_ids(subject: Subject) -> Iterator[Observation]:
    """The ranges of /etc/subuid and /etc/subgid, and the programs that may map them."""
    if subject.uid == 0:
        message = "root needs no subordinate ids"
        raise NotApplicable(message)
    user = rootless.user_name(subject.uid)
    for file in ("subuid", "subgid"):
        path = subject.etc / file
        count = sum(each.count for each in rootless.read_ranges(path, subject.uid))
        if count < rootless.ENOUGH:
            has = f"has only {count:,} ids" if count else "has no range"
            yield Observation(
                f"{user} {has} in {path}",
                (rootless.command_for_ranges(subject.uid, subject.etc),),
                facts={"file": file, "user": user, "ids": count},
            )
    for name in _MAPPERS:
        commands: tuple[str, ...]
        program = command.find(name, path=subject.programs)
        if program is not None and not _has_privilege(program):
            text = f"{program} is neither setuid nor has file capabilities: it can map nothing"
            fix = "Restore the package's permissions."
            commands = ("sudo apt-get install --reinstall --yes uidmap",)
            yield Observation(text, commands, fix=fix, facts={"program": str(program)})
        elif program is not None and not _has_capabilities(program) and _is_bounded(subject):
            # user_namespaces(7): who opens uid_map needs CAP_SYS_ADMIN in the new namespace. Root
            # without it in its own has none there either; the user owns the new namespace.
            text = f"{program} is setuid, but root lacks CAP_SYS_ADMIN here: it can map nothing"
            fix = "Give the program file capabilities in its place."
            capability = f"cap_set{name[3:6]}+ep"
            commands = (f"sudo chmod u-s {program}", f"sudo setcap {capability} {program}")
            yield Observation(text, commands, fix=fix, facts={"program": str(program)})


def _has_privilege(program: Path) -> bool:
    return bool(program.stat().st_mode & stat.S_ISUID) or _has_capabilities(program)


def _is_bounded(subject: Subject) -> bool:
    """Whether no program that is started here can have CAP_SYS_ADMIN."""
    try:
        status = (subject.proc / "self/status").read_text()
    except OSError:
        return False
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)", status, re.MULTILINE)
    return found is not None and not int(found[1], 16) >> _CAP_SYS_ADMIN & 1


def _has_capabilities(program: Path) -> bool:
    try:
        return _CAPABILITY in os.listxattr(program)
    except OSError:
        return False


def check_tun(subject: Subject) -> Iterator[Observation]:
    """The device by which pasta carries the traffic of steps."""
    if not subject.tun.exists():
        yield Observation(
            f"{subject.tun} does not exist",
            ("sudo modprobe tun",),
            fix="Load the module; start a container with --device /dev/net/tun.",
        )
    elif not os.access(subject.tun, os.R_OK | os.W_OK):
        yield Observation(
            f"{subject.tun} is closed to this user",
            (f"sudo chmod 666 {subject.tun}",),
            fix="Give it the mode that udev gives it elsewhere.",
        )


CHECKS = (
    Check(
        name="user-namespaces",
        title="user namespaces work",
        severity=Severity.MEDIUM,
        impact="Without root, neither Layerline's engine nor docker, podman and buildah can run.",
        fix="Allow unprivileged user namespaces; with AppArmor, those of Layerline alone.",
        run=check_user_namespaces,
    ),
    Check(
        name="subordinate-ids",
        title="subordinate ids are configured",
        severity=Severity.HIGH,
        impact="Without root, Layerline's engine cannot run, and apt fails in rootless containers.",
        fix="Give this user a range of 65,536 ids.",
        run=check_subordinate_ids,
    ),
    Check(
        name="tun",
        title="network devices can be created",
        severity=Severity.HIGH,
        impact="Steps that run a program cannot start: their network cannot be created.",
        fix="Make /dev/net/tun usable.",
        run=check_tun,
    ),
)
