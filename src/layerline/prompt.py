"""Questions to the user; standard library only and Python 3.9, as the doctor uses it too."""

from __future__ import annotations

import sys


def confirm(question: str) -> bool | None:
    """Ask on the terminal and return whether the answer is yes; None without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
