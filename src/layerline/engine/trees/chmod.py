"""Permissions as chmod takes them: octal, or symbolic such as `u=rwX,go-w`."""

from __future__ import annotations

import re
from collections.abc import Callable

from layerline.errors import QueryError

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*)+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_LARGEST = 0o7777

Change = Callable[[int, bool], int]
"""The new permissions from the old ones and whether it is a directory."""


def octal(text: str) -> int | None:
    """The permissions of an octal text; None for a symbolic one."""
    if not re.fullmatch(r"[0-7]+", text):
        return None
    mode = int(text, 8)
    if mode > _LARGEST:
        _refuse(text)
    return mode


def change_of(text: str) -> Change:
    """Parse a mode as chmod takes it."""
    mode = octal(text)
    if mode is not None:
        return lambda _old, _is_dir: mode
    clauses = [_CLAUSE.fullmatch(part) for part in text.split(",")]
    actions = [
        ("ugo" if not clause[1] or "a" in clause[1] else clause[1], *action)
        for clause in clauses
        if clause is not None
        for action in _ACTION.findall(clause[2])
    ]
    if None in clauses:
        _refuse(text)

    def change(old: int, is_dir: bool) -> int:  # noqa: FBT001  as Mode says
        for who, sign, letters in actions:
            old = _apply_action(old, who, sign, letters, executable=is_dir or bool(old & 0o111))
        return old

    return change


def _apply_action(old: int, who: str, sign: str, letters: str, *, executable: bool) -> int:
    bits = 0
    for letter in letters.replace("X", "x" if executable else ""):
        bits |= _bits(letter, who)
    if sign == "+":
        return old | bits
    if sign == "-":
        return old & ~bits
    kept = old
    for person in who:
        kept &= ~(7 << _SHIFTS[person])
    return kept | bits


def _bits(letter: str, who: str) -> int:
    if letter == "t":
        return 0o1000
    if letter == "s":
        return 0o4000 * ("u" in who) | 0o2000 * ("g" in who)
    return sum(_BITS[letter] << _SHIFTS[person] for person in set(who))


def _refuse(text: str) -> None:
    message = (
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, "
        "or symbolic such as u=rwX,go-w"
    )
    raise QueryError(message)
