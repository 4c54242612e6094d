"""What a command leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def files_below(place: Path) -> set[str]:
    """The paths of all files and directories below a place, and what is in the files."""
    if not place.is_dir():
        return set()
    found = set()
    for path in place.rglob("*"):
        name = str(path.relative_to(place))
        is_text = path.is_file() and not path.is_symlink()
        found.add(f"{name}: {hash(path.read_bytes())}" if is_text else name)
    return found
