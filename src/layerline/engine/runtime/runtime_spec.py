"""The OCI runtime configuration of one container.

Invariant: an ordinary container gets BuildKit's default capabilities, a seccomp filter and masked
/proc paths; only `privileged` lifts them. Mounts of the user are not in here: they are in the root
before the runtime starts.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layerline.engine.runtime.spec import Users
    from layerline.engine.runtime.user_ids import Rows
    from layerline.engine.runtime.users import User

Json = dict[str, object]

# In the order of their numbers in the kernel.
_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
_DEFAULT_MASK = 0xA80425FB  # BuildKit's
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# Not the x32 ABI, which kernels leave off: its filter would take a third of a container's start.
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
_SHM_SIZE = 64 << 20
_NOT_DEVICES = ("pts", "shm", "fd", "mqueue", "console", "ptmx", "tty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What is started, resolved: numbers, not names."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    user: User
    terminal: bool = False
    rlimits: Mapping[str, int] = field(default_factory=dict)
    oom_score: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """What it is started in. `late` are host paths to show below /dev, which the runtime makes.

    One that is `capable` but not privileged has all capabilities over its own namespaces.
    `users` is a user namespace to join. `resources` are limits, `device_rules` what devices may be
    opened and `hooks` programs of the host, all in OCI's terms.
    """

    root: Path
    hostname: str
    privileged: bool
    capable: bool
    cgroup: str | None
    network: Path | None
    late: Mapping[str, Path]
    users: Users | None = None
    resources: Mapping[str, object] = field(default_factory=dict)
    device_rules: Sequence[Json] = ()
    hooks: Mapping[str, Sequence[Json]] = field(default_factory=dict)


def configuration(process: Process, options: SandboxOptions) -> Json:
    """The content of `config.json`."""
    privileged = options.privileged
    linux: Json = {
        "namespaces": _namespaces(options),
        "resources": {
            "devices": [{"allow": privileged, "access": "rwm"}, *options.device_rules],
            **options.resources,
        },
    }
    if options.users is not None:
        ids = options.users.ids
        linux |= {"uidMappings": _mappings(ids.uids), "gidMappings": _mappings(ids.gids)}
    if options.cgroup is not None:
        linux["cgroupsPath"] = options.cgroup
    if privileged:
        linux["devices"] = list(_host_devices(Path("/dev")))
    else:
        linux["maskedPaths"] = list(_MASKED)
        linux["readonlyPaths"] = list(_READONLY)
        if not options.capable:
            linux["seccomp"] = seccomp()
    return {
        "ociVersion": "1.0.2",
        "process": _process(process, capable=options.capable),
        "root": {"path": str(options.root), "readonly": False},
        "hostname": options.hostname,
        "hooks": {name: list(hooks) for name, hooks in options.hooks.items()},
        "mounts": [*_system_mounts(options), *_late_mounts(options.late)],
        "linux": linux,
    }


def capability_names(mask: int) -> list[str]:
    """The names of the capabilities in a bit mask, as far as they have names."""
    return [f"CAP_{name}" for bit, name in enumerate(_CAPABILITIES) if mask >> bit & 1]


@cache
def seccomp() -> Json:
    """The filter: what is not listed fails with EPERM."""
    text = resources.files("layerline.resources").joinpath("seccomp.json").read_text()
    document: Json = json.loads(text)
    document["architectures"] = _ARCHITECTURES.get(os.uname().machine, [])
    return document


def _process(process: Process, *, capable: bool) -> Json:
    names = capability_names(_own_capabilities() if capable else _DEFAULT_MASK)
    return {
        "terminal": process.terminal,
        "user": {
            "uid": process.user.uid,
            "gid": process.user.gid,
            "umask": 0o022,
            "additionalGids": list(process.user.groups),
        },
        "args": list(process.argv),
        "env": [f"{name}={value}" for name, value in process.env.items()],
        "cwd": process.cwd,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        # As on the Dagger engine: sudo and other setuid programs work in a build.
        "noNewPrivileges": False,
        "rlimits": [
            {"type": name, "soft": value, "hard": value} for name, value in process.rlimits.items()
        ],
        "oomScoreAdj": process.oom_score,
    }


def _own_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return _DEFAULT_MASK


def _namespaces(options: SandboxOptions) -> list[Json]:
    kinds: list[Json] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
    if options.network is not None:
        kinds.append({"type": "network", "path": str(options.network)})
    if options.users is not None:
        kinds.append({"type": "user", "path": str(options.users.namespace)})
    return kinds


def _mappings(rows: Rows) -> list[Json]:
    return [
        {"containerID": inside, "hostID": outside, "size": count} for inside, outside, count in rows
    ]


def _system_mounts(options: SandboxOptions) -> Iterator[Json]:
    guarded = ["nosuid", "noexec", "nodev"]
    yield _mount("/proc", "proc", guarded)
    yield _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    yield _mount("/dev/pts", "devpts", _PTS_OPTIONS)
    yield _mount("/dev/shm", "tmpfs", [*guarded, "mode=1777", f"size={_SHM_SIZE}"])
    yield _mount("/dev/mqueue", "mqueue", guarded)
    yield _mount("/sys", "sysfs", guarded if options.privileged else [*guarded, "ro"])


_PTS_OPTIONS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]


def _late_mounts(late: Mapping[str, Path]) -> Iterator[Json]:
    for target, source in late.items():
        yield _mount(target, "bind", ["rbind"], source=str(source))


def _mount(target: str, kind: str, options: list[str], *, source: str | None = None) -> Json:
    return {"destination": target, "type": kind, "source": source or kind, "options": options}


def _host_devices(directory: Path) -> Iterator[Json]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in _NOT_DEVICES or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from _host_devices(Path(entry.path))
                continue
            found = entry.stat(follow_symlinks=False)
            kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(found.st_mode))
            if kind is not None:
                yield {
                    "path": entry.path,
                    "type": kind,
                    "major": os.major(found.st_rdev),
                    "minor": os.minor(found.st_rdev),
                    "fileMode": stat.S_IMODE(found.st_mode),
                    "uid": found.st_uid,
                    "gid": found.st_gid,
                }
