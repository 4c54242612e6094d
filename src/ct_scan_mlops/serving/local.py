"""Opens a file that a variable names, if and only if it is a regular file below the model root.

Symbolic links are followed as long as they stay inside, as volumes of Kubernetes need. The name is
resolved first and then opened component by component without following any link, so that a link
put there in between is refused rather than followed. Opening never waits: a FIFO is refused.
"""

import os
import stat
from collections.abc import Generator
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from ct_scan_mlops.errors import LocationRefused

CHUNK = 1024 * 1024

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


Fingerprint: TypeAlias = tuple[int, int, int, int]


def fingerprint(root: Path, text: str) -> Fingerprint | None:
    """What differs once another file is there; None where none is."""
    try:
        status = (root / text).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def local_chunks(text: str, *, root: Path) -> Generator[bytes, None, None]:
    with os.fdopen(open_inside(root, text), "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def open_inside(root: Path, text: str) -> int:
    """A descriptor of the regular file; raises LocationRefused for everything else."""
    try:
        return _open_resolved(*_resolved_inside(root, text))
    except FileNotFoundError as exc:
        message = "There is no such file. Mount it there, or change the variable."
        raise LocationRefused(message) from exc
    except PermissionError as exc:
        message = (
            f"User {os.getuid()}, as which this runs, may not read it. "
            "Give the file and its directories permission to be read by that user."
        )
        raise LocationRefused(message) from exc
    # pathlib reports a cycle of links as a RuntimeError, other than the system.
    except (OSError, RuntimeError) as exc:
        message = "It cannot be opened as a file. Name a regular file, with no link that changes."
        raise LocationRefused(message) from exc


def _resolved_inside(root: Path, text: str) -> tuple[Path, tuple[str, ...]]:
    if ".." in PurePosixPath(text).parts:
        message = "It contains '..'. Write the path in full."
        raise LocationRefused(message)
    top = root.resolve(strict=True)
    target = (top / text).resolve(strict=True)
    if not target.is_relative_to(top):
        message = (
            f"It is, or leads, outside of {root}. Mount the file below {root}, "
            "or set MODEL_ROOT to the directory that holds your models."
        )
        raise LocationRefused(message)
    return top, target.relative_to(top).parts


def _open_resolved(top: Path, parts: tuple[str, ...]) -> int:
    if not parts:
        raise _not_regular()
    directory = os.open(top, _DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        descriptor = os.open(parts[-1], _FILE, dir_fd=directory)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular()
    return descriptor


def _not_regular() -> LocationRefused:
    return LocationRefused("It is no regular file. Name the file itself.")
