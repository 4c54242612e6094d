"""Atomic edits of users' files inside one marked block, undone byte for byte.

Invariant: no byte outside the block changes. The block comes first, as later lines win in ignore
files, and records whether the file was created for it, so undoing needs nothing else.
"""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.errors import EditRefused
from layerline.kernel import sync_directory
from layerline.replacement import creating, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BEGIN = b"# >>> layerline doctor >>>"
_END = b"# <<< layerline doctor <<<"
_HINT = b" written by `layerline doctor --fix`; `layerline doctor --undo` removes this block"
_MADE = b" and this file"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Edit:
    """The content of a file before and after; None where the file does not exist."""

    path: Path
    before: bytes | None
    after: bytes | None

    @property
    def changes(self) -> bool:
        """Whether the edit changes the file."""
        return self.before != self.after

    def diff(self) -> str:
        """The change in unified form."""
        old, new = (_lines_of(data) for data in (self.before, self.after))
        return "\n".join(
            difflib.unified_diff(
                old, new, f"a/{self.path.name}", f"b/{self.path.name}", lineterm=""
            )
        )


def read_regular(path: Path) -> bytes | None:
    """The bytes of a regular file, links followed; None where there is nothing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        if path.is_symlink():
            message = (
                f"{path} is a link to {path.readlink()}, which does not exist: remove it first"
            )
            raise EditRefused(message) from exc
        return None
    except OSError as exc:
        message = f"cannot read {path}: {exc.strerror}"
        raise EditRefused(message) from exc
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        message = f"{path} is not a regular file: move it away first"
        raise EditRefused(message)
    with os.fdopen(handle, "rb") as file:
        return file.read()


def with_block(path: Path, lines: Sequence[str]) -> Edit:
    """The file with these lines in its block, which is created or replaced."""
    before = read_regular(path)
    data = before or b""
    span = _span(path, data)
    created = before is None or (
        span is not None and _MADE in data[slice(*span)].split(b"\n", 1)[0]
    )
    rest = data if span is None else data[: span[0]] + data[span[1] :]
    newline = b"\r\n" if b"\r\n" in rest else b"\n"
    begin = _BEGIN + _HINT + (_MADE if created else b"")
    block = b"".join(line + newline for line in (begin, *map(str.encode, lines), _END))
    start = len(_BOM) if rest.startswith(_BOM) else 0
    return Edit(path, before, rest[:start] + block + rest[start:])


def without_block(path: Path) -> Edit:
    """The file as it was before `with_block`; a file without a block stays as it is."""
    before = read_regular(path)
    span = _span(path, before or b"")
    if before is None or span is None:
        return Edit(path, before, before)
    rest = before[: span[0]] + before[span[1] :]
    created = _MADE in before[slice(*span)].split(b"\n", 1)[0]
    return Edit(path, before, None if created and not rest else rest)


def write(edit: Edit, project: Path) -> None:
    """Apply the edit; EditRefused if the file has changed since it was read."""
    if not edit.changes:
        return
    target = edit.path.resolve()
    if project.resolve() not in target.parents:
        message = f"{edit.path} leads to {target}, outside the project: edit that file by hand"
        raise EditRefused(message)
    _require_own(target)
    try:
        if edit.after is None:
            _require_unchanged(edit)
            target.unlink()
        else:
            _replace(edit, target, edit.after)
        sync_directory(target.parent)
    except OSError as exc:
        message = f"cannot write {target}: {exc.strerror}; the file is unchanged"
        raise EditRefused(message) from exc


def _span(path: Path, data: bytes) -> tuple[int, int] | None:
    """The span of the block, including its last line break."""
    begins = [at for at, line in _lines(data) if line.startswith(_BEGIN)]
    ends = [at + len(line) for at, line in _lines(data) if line.rstrip() == _END]
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or begins[0] >= ends[0]:
        message = (
            f"{path} has {len(begins)} begin and {len(ends)} end markers of the doctor's block: "
            "remove these lines by hand"
        )
        raise EditRefused(message)
    return begins[0], ends[0]


def _lines(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = len(_BOM) if data.startswith(_BOM) else 0
    for line in data[at:].splitlines(keepends=True):
        found.append((at, line))
        at += len(line)
    return found


def _require_own(target: Path) -> None:
    try:
        info = target.stat()
    except FileNotFoundError:
        return
    if os.geteuid() not in (0, info.st_uid):
        message = f"{target} belongs to another user (uid {info.st_uid}): let its owner edit it"
        raise EditRefused(message)
    if not info.st_mode & 0o222:
        message = f"{target} is read-only: make it writable with chmod u+w {target}"
        raise EditRefused(message)


def _require_unchanged(edit: Edit) -> None:
    if read_regular(edit.path) != edit.before:
        message = f"{edit.path} was changed in the meantime: run the doctor again"
        raise EditRefused(message)


def _replace(edit: Edit, target: Path, data: bytes) -> None:
    # A new file fails where somebody else was quicker.
    with (creating if edit.before is None else replacing)(target) as file:
        file.write(data)
        file.flush()
        _copy_owner_and_mode(file.fileno(), target)
        os.fsync(file.fileno())
        _require_unchanged(edit)


def _copy_owner_and_mode(handle: int, target: Path) -> None:
    """Owner and mode of the file that is replaced, or those of a new file."""
    try:
        info = target.stat()
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(handle, 0o666 & ~mask)
        return
    if os.geteuid() == 0:
        os.fchown(handle, info.st_uid, info.st_gid)
    os.fchmod(handle, stat.S_IMODE(info.st_mode))


def _lines_of(data: bytes | None) -> list[str]:
    return (data or b"").decode("utf-8", "replace").splitlines()
