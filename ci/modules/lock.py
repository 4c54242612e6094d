"""A target's lock: one joint resolution of all groups, and its partition among them.

A package belongs to the first group that needs it, so the lines of a later group never reach the
step of an earlier one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==")
COMMENT = re.compile(r"^\s*#")
RELOCK = "make the lock anew with the function lock"
VIA = re.compile(r"^\s+#\s+via\s+(?P<names>\S.*)$")


class LockError(ValueError):
    """The lock does not fit the groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One locked package: its lines with the hashes, and the packages that ask for it."""

    name: str
    lines: tuple[str, ...]
    wanted_by: frozenset[str]


def parse(text: str) -> dict[str, Pin]:
    """The pins of a lock that `uv pip compile --annotation-style line` wrote."""
    pins: dict[str, Pin] = {}
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)
    for lines in (block.splitlines() for block in blocks if block[:1].strip("#")):
        entry = ENTRY.match(lines[0])
        if entry is None:
            message = f"the lock holds {lines[0]!r}, which pins nothing; {RELOCK}"
            raise LockError(message)
        name = normal(entry["name"])
        via = [found["names"] for line in lines if (found := VIA.match(line))]
        pins[name] = Pin(
            name=name,
            lines=tuple(line for line in lines if line.strip() and not COMMENT.match(line)),
            wanted_by=frozenset(normal(word) for names in via for word in names.split(", ")),
        )
    return pins


def partition(text: str, groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The lines of the lock for each group; the groups are given in the order of installation."""
    pins = parse(text)
    parts: dict[str, str] = {}
    taken: set[str] = set()
    for group, requirements in groups.items():
        names = closure(pins, [project(requirement) for requirement in requirements])
        parts[group] = "".join(
            line + "\n" for name in sorted(names - taken) for line in pins[name].lines
        )
        taken |= names
    if left := sorted(pins.keys() - taken):
        message = f"no group asks for {', '.join(left)}; {RELOCK}"
        raise LockError(message)
    return parts


def closure(pins: Mapping[str, Pin], roots: Sequence[str]) -> set[str]:
    """The roots and everything that they ask for, directly or not."""
    if missing := [name for name in roots if name not in pins]:
        message = f"the lock lacks {', '.join(missing)}; {RELOCK}"
        raise LockError(message)
    found: set[str] = set()
    fresh = set(roots)
    while fresh:
        found |= fresh
        fresh = {pin.name for pin in pins.values() if pin.wanted_by & fresh} - found
    return found


def project(requirement: str) -> str:
    """The project that a requirement names, without extras and versions."""
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def normal(name: str) -> str:
    """A project's name in its one normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()
