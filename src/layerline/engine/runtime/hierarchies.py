"""The cgroup hierarchies of this machine: where a controller is, and where groups may be created.

A machine has one hierarchy of version 2, one per controller of version 1, or both ("hybrid"); a
controller belongs to one of them. https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layerline.limits import UNLIMITED

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
Controller = Literal["memory", "pids", "cpu"]
CONTROLLERS: tuple[Controller, ...] = ("memory", "pids", "cpu")
_PROCESSES = "cgroup.procs"
_SUBTREE = "cgroup.subtree_control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One hierarchy; `base` is the path of the group, below the mount, in which ours are created.

    `own` is the path of this process's group, `names` are the controllers of version 1.
    """

    mount: Path
    version: Literal[1, 2]
    base: str = ""
    own: str = ""
    names: frozenset[str] = frozenset()

    @property
    def place(self) -> Path:
        """The directory in which ours are created."""
        return self.mount / self.base

    def enclosing(self) -> list[Path]:
        """The group of this process and those that it is in, as far as they are seen here."""
        own = self.mount / self.own
        return [path for path in (own, *own.parents) if path.is_relative_to(self.mount)]

    def has(self, controller: Controller) -> bool:
        """Whether the controller belongs to it."""
        if self.version == 1:
            return controller in self.names
        return controller in read_text(self.mount / "cgroup.controllers").split()

    def delegate(self, below: Path) -> None:
        """Let groups in a directory of ours have controllers; the kernel may refuse some."""
        if self.version == 1:
            return
        steps = [path for path in (below, *below.parents) if path.is_relative_to(self.place)]
        for path in reversed(steps):
            for controller in CONTROLLERS:
                with suppress(OSError):
                    (path / _SUBTREE).write_text(f"+{controller}")


def find_hierarchies(root: Path = ROOT, own: Path = OWN) -> list[Hierarchy]:
    """The hierarchies below a directory; none where no cgroups are mounted."""
    paths = _own_paths(own)
    if (root / _PROCESSES).exists():
        found = Hierarchy(mount=root, version=2, own=paths.get("", ""))
        return [_with_base(found)]
    hierarchies = []
    for path in subdirectories(root):
        if (path / "cgroup.controllers").exists():
            hierarchies.append(Hierarchy(mount=path, version=2, own=paths.get("", "")))
        elif (path / _PROCESSES).exists():
            names = frozenset(path.name.split(","))  # "cpu,cpuacct" has two
            mine = next((paths[name] for name in sorted(names) if name in paths), "")
            hierarchies.append(Hierarchy(mount=path, version=1, own=mine, names=names))
    return hierarchies


def subdirectories(path: Path) -> list[Path]:
    """The groups in a group, sorted; links to hierarchies are not among them."""
    try:
        return sorted(
            child for child in path.iterdir() if child.is_dir() and not child.is_symlink()
        )
    except OSError:
        return []


def read_text(path: Path) -> str:
    """The text of a group's file; empty where there is none any more."""
    try:
        return path.read_text()
    except OSError:
        return ""


def read_number(path: Path) -> int:
    """The limit that a file holds; UNLIMITED where it holds none."""
    text = read_text(path).strip()
    return int(text) if text.isdecimal() else UNLIMITED


def read_count(path: Path, name: str) -> int:
    """The number that a file of events has for a name; 0 where it has none."""
    for line in read_text(path).splitlines():
        key, _, number = line.partition(" ")
        if key == name:
            return int(number)
    return 0


def _own_paths(own: Path) -> dict[str, str]:
    """The group of this process by controller; "" is that of version 2. See cgroups(7)."""
    paths = {}
    for line in read_text(own).splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            paths[name] = path.strip("/")
    return paths


def _with_base(hierarchy: Hierarchy) -> Hierarchy:
    """The topmost group that is this user's: of all, or of what systemd delegated to the user.

    Only there may a process of ours be moved to another group: the kernel asks for the right to
    write to the group that both are in.
    """
    for path in reversed(hierarchy.enclosing()):
        if all(os.access(path / name, os.W_OK) for name in (".", _PROCESSES, _SUBTREE)):
            base = path.relative_to(hierarchy.mount)
            return Hierarchy(
                mount=hierarchy.mount,
                version=2,
                base="" if base == Path() else str(base),
                own=hierarchy.own,
            )
    return hierarchy
