"""Text that a user names: files, and standard input."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from pathlib import Path


def read_text(
    path: Path,
    *,
    shown: str | None = None,
    hint: str = "",
    error: type[LayerlineError] = LayerlineError,
) -> str:
    """The text of a file in UTF-8, which is `shown` in errors, by default by its path.

    Raises `error` with the reason, worded as Dagger's, and a hint at what to do.
    """
    name = str(path) if shown is None else shown
    try:
        return _decode(path.read_bytes())
    except (OSError, ValueError) as exc:
        message = f"open {name}: {reason_of(exc)}"
        raise error(f"{message}: {hint}" if hint else message) from exc


def read_standard_input() -> str:
    """The text of standard input; raises LayerlineError where it is not UTF-8."""
    try:
        return _decode(sys.stdin.buffer.read())
    except (OSError, ValueError) as exc:
        message = f"read standard input: {reason_of(exc)}"
        raise LayerlineError(message) from exc


def reason_of(exc: OSError | ValueError) -> str:
    """Why a file cannot be read, as the system and Go word it."""
    if isinstance(exc, UnicodeDecodeError):
        return f"not UTF-8 text (byte {exc.object[exc.start]:#04x} at offset {exc.start})"
    if isinstance(exc, OSError) and exc.errno is not None:
        return os.strerror(exc.errno).lower()
    return str(exc)


def _decode(data: bytes) -> str:
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
