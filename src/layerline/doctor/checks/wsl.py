"""WSL, and sources on a mount that makes every file operation slow."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity
from layerline.doctor.mounts import mount_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

_SLOW = frozenset(
    {
        "9p",
        "cifs",
        "drvfs",
        "fuse.grpcfuse",
        "fuse.sshfs",
        "nfs",
        "nfs4",
        "prl_fs",
        "smb3",
        "vboxsf",
    }
)


def check_wsl(subject: Subject) -> Iterator[Observation]:
    """WSL 1 has no Linux kernel: no overlayfs, no namespaces, no containers."""
    kernel = subject.kernel
    if "microsoft" not in kernel.lower():
        message = "this is not WSL"
        raise NotApplicable(message)
    if "wsl2" not in kernel.lower() and kernel.endswith("-Microsoft"):
        commands = ("wsl.exe --list --verbose", "wsl.exe --set-version NAME 2")
        yield Observation(f"WSL 1 (kernel {kernel})", commands, facts={"kernel": kernel})


def check_source_mount(subject: Subject) -> Iterator[Observation]:
    """The file system type decides; a path below /mnt may be a Linux disk as well."""
    mount = mount_of(subject.project, subject.mounts)
    if mount is None or not (mount.is_windows or mount.kind in _SLOW):
        return
    facts = {"target": mount.target, "type": mount.kind, "source": mount.source}
    where = f"{subject.project} is on {mount.target}, a {mount.kind} mount"
    target = shlex.quote(f"~/{subject.project.name}").replace("'~/", "~/'")
    commands = (f"cp -a {shlex.quote(str(subject.project))} {target}", f"cd {target}")
    if mount.is_windows:
        yield Observation(f"{where} of a Windows drive", commands, facts=facts)
    else:
        yield Observation(where, commands, severity=Severity.MEDIUM, facts=facts)


CHECKS = (
    Check(
        name="wsl-version",
        title="WSL has a Linux kernel",
        severity=Severity.CRITICAL,
        impact="Containers cannot run, neither with docker nor with Layerline.",
        fix="Convert the distribution to WSL 2, in a Windows terminal.",
        run=check_wsl,
    ),
    Check(
        name="wsl-source",
        title="the source is on a Linux file system",
        severity=Severity.HIGH,
        impact="Every file operation crosses into another system: builds take several times as "
        "long, and permissions and links get lost.",
        fix="Keep the source on the Linux file system, e.g. in your home directory.",
        run=check_source_mount,
    ),
)
