"""A directory that is filled under untrusted names; the only module that opens paths for `unpack`.

Names are walked one part at a time with descriptors that are held: no call gets more than one part,
the kernel follows no link, and ".." goes back to the descriptor before. So nothing outside is
reached, even while another process replaces directories by links. (`runtime/confined_root.py` only
opens what exists, so the kernel resolves complete paths for it; here each part may be created.)
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from layerline.engine.store import overlay
from layerline.engine.store.rmtree import remove_in
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
_DEEPEST = 256


@dataclass(slots=True)
class UnpackRoot:
    """The root directory. `implied` are directories created only as parents of other members."""

    descriptor: int
    implied: set[bytes] = field(default_factory=set)
    _names: list[bytes] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[UnpackRoot]:
        """Hold the directory open for the length of the block."""
        held = cls(descriptor=os.open(path, _DIRECTORY))
        try:
            yield held
        finally:
            held.forget()
            os.close(held.descriptor)

    def forget(self) -> None:
        """Close all held directories; call it after one of them was removed."""
        self._close_below(0)

    def directory(self, parts: Sequence[bytes], *, make: bool = True) -> int:
        """The descriptor of a directory, valid until the next call.

        Links on the way are followed as a process with this root directory would follow them.
        """
        pending = list(reversed(parts[self._share(parts) :]))
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                self._close_below(max(0, len(self._open) - 1))
            elif part not in (b"", b".") and (target := self._enter(part, make=make)) is not None:
                links += 1
                if links > _MOST_LINKS:
                    refuse(part, "too many links lead to it")
                if target.startswith(b"/"):
                    self._close_below(0)
                pending.extend(reversed(target.split(b"/")))
        return self._top()

    def _share(self, parts: Sequence[bytes]) -> int:
        """Keep the held directories that `parts` begin with; return how many they are."""
        shared = 0
        while shared < min(len(parts), len(self._names)) and parts[shared] == self._names[shared]:
            shared += 1
        self._close_below(shared)
        return shared

    def find(self, path: bytes) -> int | None:
        """The descriptor of the directory at a real path, valid until the next call, or None."""
        parts = path.split(b"/") if path else []
        shared = self._share(parts)
        for part in parts[shared:]:
            status = self.status(self._top(), part)
            if status is None or not stat.S_ISDIR(status.st_mode):
                return None
            if self._enter(part, make=False) is not None:
                refuse(part, "its directory changed during unpacking (a link)")
        return self._top()

    def path_of(self, name: bytes) -> bytes:
        """The real path of a name in the directory asked for last, relative to the root."""
        return b"/".join((*self._names, name))

    def status(self, directory: int, name: bytes) -> os.stat_result | None:
        """The status of a name without following links, or None."""
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def clear(self, directory: int, name: bytes) -> bool:
        """Remove a name with everything below it; return whether it was a whiteout."""
        status = self.status(directory, name)
        if status is None:
            return False
        if stat.S_ISDIR(status.st_mode):
            remove_in(directory, os.fsdecode(name))
        else:
            os.unlink(name, dir_fd=directory)
        return overlay.is_whiteout(status)

    def open_directory(self, directory: int, name: bytes) -> int:
        """Open a directory; the caller closes the descriptor."""
        return os.open(name, _DIRECTORY, dir_fd=directory)

    def _enter(self, part: bytes, *, make: bool) -> bytes | None:
        """Step into a directory, or return the target if it is a link."""
        here = self._top()
        if len(self._open) >= _DEEPEST:
            refuse(part, f"it is nested deeper than {_DEEPEST} directories")
        status = self.status(here, part)
        if status is None or overlay.is_whiteout(status):
            if not make:
                refuse(part, "its directory is missing")
            self._make(here, part, hide=status is not None)
        elif stat.S_ISLNK(status.st_mode):
            try:
                return os.readlink(part, dir_fd=here)
            except OSError as exc:
                refuse(part, f"its link changed during unpacking ({exc.strerror})")
        elif not stat.S_ISDIR(status.st_mode):
            refuse(part, "its parent is a file, not a directory")
        try:
            descriptor = os.open(part, _DIRECTORY, dir_fd=here)
        except OSError as exc:
            refuse(part, f"its directory changed during unpacking ({exc.strerror})")
        self._names.append(part)
        self._open.append(descriptor)
        return None

    def _make(self, here: int, part: bytes, *, hide: bool) -> None:
        if hide:
            os.unlink(part, dir_fd=here)
        os.mkdir(part, 0o755, dir_fd=here)
        self.implied.add(self.path_of(part))
        if hide:
            descriptor = self.open_directory(here, part)
            try:
                overlay.make_opaque(descriptor)
            finally:
                os.close(descriptor)

    def _top(self) -> int:
        return self._open[-1] if self._open else self.descriptor

    def _close_below(self, length: int) -> None:
        while len(self._open) > length:
            os.close(self._open.pop())
        del self._names[length:]


def refuse(name: bytes, reason: str) -> NoReturn:
    """Raise ArchiveInvalid with the name of the member."""
    message = f"the layer is refused: {os.fsdecode(name)!r}: {reason}"
    raise ArchiveInvalid(message)
