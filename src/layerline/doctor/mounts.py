"""The file system of a path, by the kernel's table of mounts and not by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One line of /proc/mounts."""

    source: str
    target: str
    kind: str
    options: tuple[str, ...]

    @property
    def is_windows(self) -> bool:
        """A drive of the Windows host: WSL 1 names it drvfs, WSL 2 mounts it by 9p or virtiofs."""
        names = ("aname=drvfs", "path=")
        drive = any(option.startswith(names) and "drvfs" in option for option in self.options)
        letter = re.fullmatch(r"(drvfs\w*|[A-Za-z]:\\?)", self.source) is not None
        return self.kind == "drvfs" or drive or (self.kind in ("9p", "virtiofs") and letter)


def read_mounts(text: str) -> tuple[Mount, ...]:
    """The mounts that a text in the form of /proc/mounts lists."""
    rows = [line.split(" ") for line in text.splitlines()]
    return tuple(
        Mount(
            source=_plain(row[0]),
            target=_plain(row[1]),
            kind=row[2],
            options=tuple(_plain(row[3]).split(",")),
        )
        for row in rows
        if len(row) >= 4
    )


def mount_of(path: Path, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that a path is on; of two at one place, the later one hides the other."""
    resolved = str(path.resolve())
    found: Mount | None = None
    for mount in mounts:
        inside = mount.target == "/" or (resolved + "/").startswith(mount.target.rstrip("/") + "/")
        if inside and (found is None or len(mount.target) >= len(found.target)):
            found = mount
    return found


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
