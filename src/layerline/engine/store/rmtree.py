"""Removes trees that may be hostile: never through a link or across a mount.

Invariant: trees of any depth are removed; a directory that is too deep is moved up first. What is
mounted in a tree stays, with the directories that lead to it, and is named in the error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat
from pathlib import Path

from layerline import kernel, log
from layerline.errors import StoreError

_DEPTH = 100
_LIST = os.O_RDONLY | os.O_DIRECTORY


def remove_tree(path: Path) -> None:
    """Remove a file or a directory tree, if it exists.

    Raises StoreError if something is mounted in it; everything else is removed.
    """
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_in(parent, path.name)
    finally:
        os.close(parent)


def remove_in(directory: int, name: str) -> None:
    """Remove a name in an open directory, and all below it; raises StoreError as `remove_tree`."""
    if mounts := _Removal(directory).remove(name):
        above = Path(f"/proc/self/fd/{directory}").readlink()
        first = above / mounts[0]
        message = (
            f"cannot remove {above / name}: {first} is a mount point: "
            f"unmount it with 'umount {shlex.quote(str(first))}'"
        )
        raise StoreError(message)


def discard_tree(path: Path) -> bool:
    """Remove a tree that nothing depends on; return whether all of it could be removed."""
    try:
        remove_tree(path)
    except (OSError, StoreError) as exc:
        log.debug("%s stays for the next start: %s", path, exc)
        return False
    return True


class _Removal:
    """Removes names in one directory, and the deep directories moved into it."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._moved: list[str] = []
        self._trail: list[str] = []
        self._mounts: list[str] = []

    def remove(self, name: str) -> list[str]:
        """Remove a tree; return the mount points that were found in it, relative to the parent."""
        self._remove(self._parent, name)
        while self._moved:
            self._remove(self._parent, self._moved.pop())
        return self._mounts

    def _remove(self, above: int, name: str) -> bool:
        """Remove one name; return whether it is gone."""
        self._trail.append(name)
        try:
            return self._try_remove(above, name)
        except FileNotFoundError:  # another process may remove the same tree
            return True
        except OSError as exc:
            # EXDEV: openat2 refused to enter a mount. EBUSY: one is on this file or directory.
            if exc.errno not in (errno.EXDEV, errno.EBUSY):
                raise
            self._mounts.append("/".join(self._trail))
            return False
        finally:
            self._trail.pop()

    def _try_remove(self, above: int, name: str) -> bool:
        info = os.stat(name, dir_fd=above, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(name, dir_fd=above)
        elif len(self._trail) > _DEPTH:
            aside = f".removed-{secrets.token_hex(8)}"
            os.rename(name, aside, src_dir_fd=above, dst_dir_fd=self._parent)
            self._moved.append(aside)
        elif self._empty(above, name, info):
            os.rmdir(name, dir_fd=above)
        else:
            return False
        return True

    def _empty(self, above: int, name: str, info: os.stat_result) -> bool:
        """Remove the content of a directory; return whether it is empty now."""
        if info.st_mode & 0o700 != 0o700:
            _make_accessible(above, name)
        handle = kernel.open_in_mount(above, name, _LIST)
        try:
            with os.scandir(handle) as listing:
                names = [item.name for item in listing]
            gone = [self._remove(handle, each) for each in names]
            return all(gone)
        finally:
            os.close(handle)


def _make_accessible(above: int, name: str) -> None:
    """Let its owner list and empty a directory, unless something is mounted on it."""
    pinned = kernel.open_in_mount(above, name, os.O_PATH | os.O_DIRECTORY)
    try:
        with contextlib.suppress(PermissionError):  # the next call says what is not permitted
            Path(f"/proc/self/fd/{pinned}").chmod(0o700)
    finally:
        os.close(pinned)
