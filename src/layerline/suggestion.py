"""Hints at what was meant; standard library only and Python 3.9, as the doctor uses them too."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIMILAR = 0.7


def did_you_mean(wrong: str, known: Iterable[str], *, prefix: str = "") -> str:
    """A hint at the known name that is nearest, after a prefix; empty where none is near."""
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=_SIMILAR)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def what_instead(wrong: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, or at all of them where none is near."""
    names = list(known)
    return did_you_mean(wrong, names) or f": use one of {', '.join(names)}"
