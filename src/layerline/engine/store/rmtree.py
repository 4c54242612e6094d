"""Removes trees that may be hostile: never through a link or across a mount.

Invariant: trees of any depth are removed; a directory that is too deep is moved up first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DEPTH = 100
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove a file or a directory tree, if it exists."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _Removal(parent).remove(path.name)
    finally:
        os.close(parent)


class _Removal:
    """Removes names in one directory, and the deep directories moved into it."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._device = os.fstat(parent).st_dev
        self._moved: list[str] = []

    def remove(self, name: str) -> None:
        self._remove(self._parent, name, 0)
        while self._moved:
            self._remove(self._parent, self._moved.pop(), 0)

    def _remove(self, above: int, name: str, depth: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # another process may remove the same tree
            info = os.stat(name, dir_fd=above, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode):
                os.unlink(name, dir_fd=above)
            elif depth == _DEPTH:
                aside = f".removed-{secrets.token_hex(8)}"
                os.rename(name, aside, src_dir_fd=above, dst_dir_fd=self._parent)
                self._moved.append(aside)
            elif info.st_dev == self._device:
                self._empty(above, name, info, depth)
                os.rmdir(name, dir_fd=above)

    def _empty(self, above: int, name: str, info: os.stat_result, depth: int) -> None:
        if info.st_mode & 0o700 != 0o700:
            os.chmod(name, 0o700, dir_fd=above)
        handle = os.open(name, _LIST, dir_fd=above)
        try:
            with os.scandir(handle) as listing:
                names = [item.name for item in listing]
            for each in names:
                self._remove(handle, each, depth + 1)
        finally:
            os.close(handle)
