"""The embedded engine's needs of the kernel and the system, checked by trying."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

from layerline import command
from layerline.doctor.finding import Check, NotApplicable, Observation, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

# program: the Debian package that brings it; the same as the launcher's
PROGRAMS = {
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "tini-static": "tini",
    "ip": "iproute2",
    "pasta": "passt",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "newuidmap": "uidmap",
    "git": "git",
    "rg": "ripgrep",
}


def check_programs(subject: Subject) -> Iterator[Observation]:
    """The programs that the launcher installs on first use, as root."""
    missing = {
        name: package
        for name, package in PROGRAMS.items()
        if command.find(name, path=subject.programs) is None
    }
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        yield Observation(
            f"not installed: {', '.join(missing)}",
            (f"sudo apt-get install --yes --no-install-recommends {packages}",),
            facts={"missing": sorted(missing)},
        )


def check_user_namespaces(subject: Subject) -> Iterator[Observation]:
    """Tried in a child process; where it fails, the setting that forbids it is named."""
    if subject.capabilities.user_namespaces:
        return
    sysctl = subject.proc / "sys"
    limits = {
        "kernel.apparmor_restrict_unprivileged_userns": "1",
        "kernel.unprivileged_userns_clone": "0",
        "user.max_user_namespaces": "0",
    }
    found = [
        name
        for name, bad in limits.items()
        if subject.text(sysctl / name.replace(".", "/", 1)) == bad
    ]
    commands = tuple(
        f"sudo sysctl -w {name}={'28633' if name.startswith('user.') else 1 - int(limits[name])}"
        for name in found
    )
    why = f" ({', '.join(f'{name}={limits[name]}' for name in found)})" if found else ""
    yield Observation(f"user namespaces are refused{why}", commands, facts={"settings": found})


def check_subordinate_ids(subject: Subject) -> Iterator[Observation]:
    """Without a range, programs such as apt fail in rootless steps when they change groups."""
    if subject.uid == 0:
        message = "root needs no subordinate ids"
        raise NotApplicable(message)
    try:
        user = pwd.getpwuid(subject.uid).pw_name
    except KeyError:
        user = str(subject.uid)
    names = (user + ":", f"{subject.uid}:")
    for file in ("subuid", "subgid"):
        lines = subject.text(subject.etc / file).splitlines()
        if not any(line.startswith(names) for line in lines):
            option = "--add-subuids" if file == "subuid" else "--add-subgids"
            yield Observation(
                f"{user} has no range in {subject.etc / file}",
                (f"sudo usermod {option} 100000-165535 {user}",),
                facts={"file": file, "user": user},
            )


def check_root(subject: Subject) -> Iterator[Observation]:
    """Mounts and containers are made by root."""
    capabilities = subject.capabilities
    if subject.uid != 0:
        yield Observation(
            "this is not root",
            ("sudo ./layerline call --help",),
            severity=Severity.INFO,
            impact="Building images with the embedded engine needs root.",
            fix="Run builds with sudo, or in a container as root.",
        )
    elif not capabilities.namespaces:
        yield Observation(
            "root may not create namespaces (no CAP_SYS_ADMIN)", ("docker run --privileged …",)
        )
    elif not capabilities.overlay:
        yield Observation(
            "overlayfs cannot be mounted",
            ("sudo modprobe overlay",),
            fix="Load the kernel module, or use a kernel that has overlayfs.",
        )


def check_runtime(subject: Subject) -> Iterator[Observation]:
    """The OCI runtime is started once, for its version."""
    program = subject.environ.get("LAYERLINE_RUNTIME") or "runc"
    if subject.capabilities.runtime is None:
        commands = ("sudo apt-get install --yes runc",)
        yield Observation(
            f"the OCI runtime {program} does not run", commands, facts={"runtime": program}
        )


def check_cgroups(subject: Subject) -> Iterator[Observation]:
    """Limits and clean endings of steps rest on them."""
    kinds = {mount.kind for mount in subject.mounts if mount.target.startswith("/sys/fs/cgroup")}
    if not kinds & {"cgroup", "cgroup2"}:
        yield Observation(
            "no cgroup hierarchy is mounted", ("sudo mount -t cgroup2 none /sys/fs/cgroup",)
        )


def check_seccomp(subject: Subject) -> Iterator[Observation]:
    """A kernel without filters runs every step with all system calls."""
    if not (subject.proc / "sys/kernel/seccomp/actions_avail").exists():
        yield Observation(
            "the kernel has no seccomp filters", ("zgrep SECCOMP_FILTER /proc/config.gz",)
        )


_ENGINE = "Layerline's embedded engine cannot run containers."

CHECKS = (
    Check(
        name="engine-programs",
        title="the engine's programs are installed",
        severity=Severity.MEDIUM,
        impact="The launcher installs them as root; an ordinary user cannot.",
        fix="Install them from the distribution.",
        run=check_programs,
    ),
    Check(
        name="engine-privilege",
        title="namespaces and overlayfs work",
        severity=Severity.HIGH,
        impact=_ENGINE,
        fix="Run as root, in a container with --privileged.",
        run=check_root,
    ),
    Check(
        name="engine-runtime",
        title="an OCI runtime works",
        severity=Severity.HIGH,
        impact=_ENGINE,
        fix="Install runc, or set LAYERLINE_RUNTIME to a runtime that works.",
        run=check_runtime,
    ),
    Check(
        name="user-namespaces",
        title="user namespaces work",
        severity=Severity.MEDIUM,
        impact="Rootless docker, podman and buildah cannot run containers.",
        fix="Allow unprivileged user namespaces, or allow them for this program in AppArmor.",
        run=check_user_namespaces,
    ),
    Check(
        name="subordinate-ids",
        title="subordinate ids are configured",
        severity=Severity.MEDIUM,
        impact="In rootless builds apt fails: setgroups and seteuid are refused.",
        fix="Give this user a range of 65,536 ids.",
        run=check_subordinate_ids,
    ),
    Check(
        name="cgroups",
        title="cgroups are mounted",
        severity=Severity.MEDIUM,
        impact="Steps cannot be limited, and stray processes are harder to end.",
        fix="Mount the hierarchy, or start the container with one.",
        run=check_cgroups,
    ),
    Check(
        name="seccomp",
        title="seccomp filters work",
        severity=Severity.MEDIUM,
        impact="Build steps can use every system call of the kernel.",
        fix="Use a kernel with CONFIG_SECCOMP_FILTER.",
        run=check_seccomp,
    ),
)
