"""Removing trees that may be hostile: never through a link or onto another file system."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with all below it; a missing one is fine."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        info = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        os.close(parent)
        return
    try:
        _remove(parent, path.name, info)
    finally:
        os.close(parent)


def _remove(parent: int, name: str, info: os.stat_result) -> None:
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    if info.st_dev != os.fstat(parent).st_dev:
        return
    if info.st_mode & 0o700 != 0o700:
        os.chmod(name, 0o700, dir_fd=parent)
    handle = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
    )
    try:
        with os.scandir(handle) as entries:
            children = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        for child, child_info in children:
            with contextlib.suppress(FileNotFoundError):  # somebody else removes the same tree
                _remove(handle, child, child_info)
    finally:
        os.close(handle)
    os.rmdir(name, dir_fd=parent)
