"""The embedded engine's needs of the kernel and the system, checked by trying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline import command, host, kernel
from layerline.doctor.finding import Check, Observation, Severity

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


def check_privilege(subject: Subject) -> Iterator[Observation]:
    """Containers are run by root, or by an ordinary user as that of a user namespace."""
    capabilities = subject.capabilities
    if not capabilities.namespaces and subject.uid == 0:
        yield Observation(
            "root may not create namespaces (no CAP_SYS_ADMIN)", ("docker run --privileged …",)
        )
    elif not capabilities.namespaces:
        yield Observation(
            "this user cannot become root of a user namespace with mounts of its own",
            ("./layerline doctor --check user-namespaces --check subordinate-ids",),
            fix="Fix what these checks report; a container needs --privileged. Or use sudo.",
        )
    elif not capabilities.overlay and subject.uid == 0:
        yield Observation(
            "overlayfs cannot be mounted",
            ("sudo modprobe overlay",),
            fix="Load the kernel module, or use a kernel that has overlayfs.",
        )
    elif not capabilities.overlay:
        yield Observation(
            "overlayfs cannot be mounted in a user namespace",
            ("sudo modprobe overlay", "uname --kernel-release"),
            fix="Load the kernel module, and use Linux 5.11 or newer. Or use sudo.",
        )


def check_runtime(subject: Subject) -> Iterator[Observation]:
    """The OCI runtime is started once, for its version."""
    program = subject.environ.get("LAYERLINE_RUNTIME") or "runc"
    if subject.capabilities.runtime is None:
        commands = ("sudo apt-get install --yes runc",)
        yield Observation(
            f"the OCI runtime {program} does not run", commands, facts={"runtime": program}
        )


def check_shifted_owners(subject: Subject) -> Iterator[Observation]:
    """As root, containers have users of their own where the store's files can be shown so."""
    if subject.uid != 0 or kernel.in_user_namespace():
        return
    existing = next(path for path in (subject.store, *subject.store.parents) if path.is_dir())
    if not host.shifts_owners(existing):
        yield Observation(
            f"the owners of files in {existing} cannot be shifted",
            ("uname --kernel-release", f"stat --file-system {existing}"),
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
        fix="Give the container that this runs in more rights, e.g. --privileged.",
        run=check_privilege,
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
        name="shifted-owners",
        title="containers have users of their own",
        severity=Severity.INFO,
        impact="Root in a container is root of this machine, but for its capabilities.",
        fix="Use Linux 6.3 or newer, and a store on ext4, xfs or btrfs.",
        run=check_shifted_owners,
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
