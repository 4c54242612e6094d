"""What is mounted in a directory, as this process sees it.

https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
"""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_PLACE = 4
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def mount_points_below(root: Path) -> list[Path]:
    """The mount points in a directory, without the directory itself."""
    top = root.resolve()
    lines = _MOUNTS.read_bytes().splitlines()
    places = {_unescape(line.split()[_PLACE]) for line in lines}
    below = sorted(place for place in places if top in place.parents)
    return [root / place.relative_to(top) for place in below]


def _unescape(field: bytes) -> Path:
    r"""A path of mountinfo, where a space is written as \040."""
    text = _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), field)
    return Path(text.decode(errors="surrogateescape"))
