"""Paths as a container sees them, followed from the outside.

Invariant: every access goes through openat2 with the container's root as the root, so no link of an
image and no ".." reaches the host.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from layerline import kernel
from layerline.engine.store.epoch import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_LINKS = 40
_TEXT_LIMIT = 16 << 20


def join(directory: str, path: str) -> str:
    """`path` under `directory` unless it is absolute, without "." and doubled slashes."""
    joined = path if path.startswith("/") else f"{directory}/{path}"
    return "/" + "/".join(part for part in joined.split("/") if part not in ("", "."))


@dataclass(frozen=True, slots=True)
class CreatedPath:
    """A mount point that was created, to be removed after the run."""

    parent: int
    name: str
    directory: bool
    times: tuple[int, int]

    def remove(self) -> None:
        """Remove it and restore its parent's times; a directory with content stays."""
        try:
            if self.directory:
                os.rmdir(self.name, dir_fd=self.parent)
            else:
                os.unlink(self.name, dir_fd=self.parent)
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.EBUSY, errno.ENOTDIR):
                raise
        else:
            os.utime(self.parent, ns=self.times)


class ConfinedRoot:
    """A root directory, held open."""

    def __init__(self, root: Path) -> None:
        self.descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """Open; the last component may be a link."""
        return kernel.open_in_root(self.descriptor, path, flags, mode)

    @contextmanager
    def open_path(self, path: str, flags: int = os.O_PATH) -> Iterator[int]:
        """`open`, closed at the end."""
        with kernel.descriptor_in_root(self.descriptor, path, flags) as descriptor:
            yield descriptor

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result | None:
        """What is at the path, or None."""
        flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
        try:
            with self.open_path(path, flags) as descriptor:
                return os.fstat(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def resolve(self, path: str) -> str:
        """The path with its links followed as far as it exists; the rest is taken as it is."""
        pending = path.split("/")[::-1]
        done: list[str] = []
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                del done[-1:]
            elif part not in ("", "."):
                target = self._link("/" + "/".join([*done, part]))
                if target is None:
                    done.append(part)
                    continue
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                done = [] if target.startswith("/") else done
                pending += target.split("/")[::-1]
        return "/" + "/".join(done)

    def _link(self, path: str) -> str | None:
        found = self.stat(path, follow=False)
        if found is None or not stat.S_ISLNK(found.st_mode):
            return None
        with self.open_path(path, os.O_PATH | os.O_NOFOLLOW) as descriptor:
            return os.readlink("", dir_fd=descriptor)

    def open_file(self, path: str, flags: int, mode: int = 0) -> int:
        """Open a regular file; with O_CREAT in `flags` a missing one is created.

        Raises OSError for anything else, which is not opened: opening a device, a FIFO or a socket
        of an image has effects on the host, or blocks.
        """
        try:
            with self.open_path(path) as pinned:
                found = os.fstat(pinned)
                if stat.S_ISDIR(found.st_mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
                if not stat.S_ISREG(found.st_mode):
                    raise OSError(errno.EINVAL, "not a regular file", path)
                kept = flags & ~(os.O_CREAT | os.O_EXCL) | os.O_CLOEXEC
                return os.open(f"/proc/self/fd/{pinned}", kept)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        # The link at the path, if there was one, leads to what is created.
        return self.open(self.resolve(path), flags | os.O_EXCL, mode)

    def read_text(self, path: str) -> str:
        """A small regular file, or "" when there is none at the path."""
        try:
            descriptor = self.open_file(path, os.O_RDONLY)
        except OSError:
            return ""
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read(_TEXT_LIMIT).decode(errors="surrogateescape")

    def make_directories(
        self, path: str, *, owner: tuple[int, int], stack: ExitStack
    ) -> list[CreatedPath]:
        """Make the directory and the parents it lacks, 0755; parents keep their times.

        The descriptors of the parents stay open as long as `stack`.
        """
        created: list[CreatedPath] = []
        here = "/"
        for name in filter(None, self.resolve(path).split("/")):
            there = join(here, name)
            found = self.stat(there)
            if found is None:
                item = self._make(here, name, directory=True, stack=stack)
                with self.open_path(there, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                    os.fchown(descriptor, *owner)
                    os.fchmod(descriptor, 0o755)
                    os.utime(descriptor, (EPOCH, EPOCH))
                created.append(item)
            elif not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), there)
            here = there
        return created

    def make_stub(
        self, path: str, *, directory: bool, owner: tuple[int, int], stack: ExitStack
    ) -> list[CreatedPath]:
        """Make an empty file or directory, and what it needs above it."""
        target = self.resolve(path)
        if directory:
            return self.make_directories(target, owner=owner, stack=stack)
        parent, _, name = target.rpartition("/")
        created = self.make_directories(parent or "/", owner=owner, stack=stack)
        return [*created, self._make(parent or "/", name, directory=False, stack=stack)]

    def _make(self, parent: str, name: str, *, directory: bool, stack: ExitStack) -> CreatedPath:
        descriptor = self.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, descriptor)
        before = os.fstat(descriptor)
        times = (before.st_atime_ns, before.st_mtime_ns)
        if directory:
            os.mkdir(name, 0o755, dir_fd=descriptor)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=descriptor))
        os.utime(descriptor, ns=times)
        return CreatedPath(descriptor, name, directory, times)
