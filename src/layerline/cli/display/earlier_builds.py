"""What earlier builds on this machine depended on, to say why a part of one is made again.

Spans carry it in their attributes `layerline.input.NAME`: a text, or lines `KEY VALUE`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.log import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from layerline.cli.display.step_tree import Node

PART = "layerline.part"
FIRST = "first build here"
PRUNED = "nothing changed, but the store no longer has it"
_TARGET = "layerline.target"
_INPUT = "layerline.input."
_DIGEST = "sha256:"
_KEPT = 300  # parts, those that were built last
_MOST_NAMED = 3
_LONGEST_VALUE = 40


@dataclass(slots=True, kw_only=True)
class EarlierBuilds:
    """The inputs of the parts of a project's images, in a file that all projects share."""

    path: Path
    project: str
    _before: dict[str, dict[str, Any]] | None = None

    def why(self, part: Iterable[Node]) -> str:
        """Why these spans of one part, in their order, were not found in the store.

        What changed for a span is the reason for all that come after it. Empty where they do not
        say what they depend on.
        """
        nodes = [node for node in part if any(_inputs(node))]
        if not nodes:
            return ""
        known = self._earlier().get(self._key(nodes[0]))
        if known is None:
            return FIRST
        reasons = ("; ".join(_changes(known["inputs"], dict(_inputs(node)))) for node in nodes)
        return next(filter(None, reasons), PRUNED)

    def remember(self, nodes: Iterable[Node]) -> None:
        """Keep the inputs of all parts that are finished; a full disk keeps none."""
        made = [node for node in nodes if any(_inputs(node)) and node.status() in _FINISHED]
        if not made:
            return
        self._earlier()  # the reasons are those that the call had
        known = self._read()
        for node in made:
            record = known.setdefault(self._key(node), {"inputs": {}})
            record["inputs"] |= dict(_inputs(node))
            record["time"] = time.time()
        latest = sorted(known, key=lambda key: float(known[key]["time"]))[-_KEPT:]
        with contextlib.suppress(OSError):
            draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            draft.write_text(json.dumps({key: known[key] for key in latest}))
            draft.replace(self.path)

    def _earlier(self) -> dict[str, dict[str, Any]]:
        """What was known before this call."""
        if self._before is None:
            self._before = self._read()
        return self._before

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        items = found.items() if isinstance(found, dict) else ()
        return {key: value for key, value in items if _is_record(value)}

    def _key(self, node: Node) -> str:
        attributes = node.last.attributes
        return json.dumps([self.project, attributes.get(_TARGET, ""), part_of(node)])


_FINISHED = (Status.DONE, Status.CACHED)


def _is_record(value: object) -> bool:
    """Whether a value of the file is one of ours: another program may have changed it."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("inputs"), dict)
        and isinstance(value.get("time"), int | float)
    )


def part_of(node: Node) -> str:
    """The part of an image that a span is about: its own name where it names none."""
    return str(node.last.attributes.get(PART, node.last.name))


def _inputs(node: Node) -> Iterator[tuple[str, str]]:
    for name, value in node.last.attributes.items():
        if name.startswith(_INPUT):
            yield name.removeprefix(_INPUT), str(value)


def _changes(before: Mapping[str, Any], now: Mapping[str, str]) -> Iterator[str]:
    for name, new in now.items():
        old = str(before.get(name, ""))
        if old == new:
            continue
        if "\n" in old + new:
            yield f"{name}: {_of_lines(_entries(old), _entries(new))}"
        else:
            yield _of_value(name, old, new)


def _entries(text: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: value for key, _, value in pairs}


def _of_lines(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = [
        _of_entry(key, before.get(key), now.get(key))
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    more = len(changed) - _MOST_NAMED
    return ", ".join(changed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _of_entry(key: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return f"{key} {'new' if old is None else 'gone'}"
    shown = [value.partition(_DIGEST)[0].strip() for value in (old, new)]
    return f"{key} {' -> '.join(shown)}" if shown[0] != shown[1] else f"{key} changed"


def _of_value(name: str, old: str, new: str) -> str:
    hidden = any(_DIGEST in each or not each or len(each) > _LONGEST_VALUE for each in (old, new))
    return f"{name} changed" if hidden else f"{name} {old} -> {new}"
