"""The rooms of the code and who imports whom, as a picture: `docs/architecture/parts.svg`.

Rows are the layers of the import contracts in `pyproject.toml`, which hold in every test run.
Arrows are imports that the code has: one that others imply is left out, one past other rooms is
dashed.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOME = Path(__file__).parents[1]
SOURCE = HOME / "src"
PACKAGE = SOURCE / "layerline"
_TOOL, _ENGINE, _PIPELINE, _CI = "layerline", "layerline.engine", "layerline.pipeline", "ci"
_SHARED = "modules of layerline"
_ROW, _BOX, _GAP, _LANE = 74, 34, 26, 14
# Three columns: what is beside the engine, the engine, and the pipeline with its users.
_BESIDE, _MIDDLE, _RIGHT = 110, 470, 200
_WIDTH = _BESIDE + _MIDDLE + _RIGHT + 4 * _GAP
_STYLE = 'font-family="sans-serif" font-size="15"'
_DARK, _LINE, _FILL = "#1d2733", "#5b6b80", "#eef2f7"


@dataclass(frozen=True, slots=True)
class Box:
    """A room's rectangle, in pixels."""

    left: float
    top: float
    width: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def bottom(self) -> float:
        return self.top + _BOX


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rooms by their contracts: above all others, beside the engine, and the engine's rows."""

    top: Sequence[str]
    beside: Sequence[str]
    engine: Sequence[Sequence[str]]

    @classmethod
    def read(cls) -> Rooms:
        """Those of `pyproject.toml`."""
        document = tomllib.loads((HOME / "pyproject.toml").read_text())
        contracts = {each["name"]: each for each in document["tool"]["importlinter"]["contracts"]}
        top, second, *_modules = map(_names, contracts["the stack"]["layers"])
        rows = [
            [f"{_ENGINE}.{name}" for name in _names(row) if (PACKAGE / "engine" / name).is_dir()]
            for row in contracts["inside the engine"]["layers"]
        ]
        return cls(
            top=top,
            beside=[name for name in second if name != _ENGINE],
            engine=[row for row in rows if row],
        )

    @property
    def names(self) -> list[str]:
        engine = [name for row in self.engine for name in row]
        return [*self.top, *self.beside, *engine, _SHARED, _CI, _PIPELINE]

    def boxes(self) -> dict[str, Box]:
        """Where each room is."""
        both = _BESIDE + _GAP + _MIDDLE
        middle, right = _BESIDE + 2 * _GAP, both + 2 * _GAP
        found = _row(self.top, 0, _GAP, both) | _row(self.beside, 1, _GAP, _BESIDE)
        for number, row in enumerate(self.engine, start=1):
            found |= _row(row, number, middle, _MIDDLE)
        found |= _row([_SHARED], len(self.engine) + 1, _GAP, both)
        return found | _row([_CI], 0, right, _RIGHT) | _row([_PIPELINE], 1, right, _RIGHT)


def _row(names: Sequence[str], number: int, left: float, width: float) -> dict[str, Box]:
    each = (width - _GAP * (len(names) - 1)) / len(names)
    top = _GAP + number * _ROW
    return {name: Box(left + place * (each + _GAP), top, each) for place, name in enumerate(names)}


def _names(row: str) -> list[str]:
    return [name.strip() for name in row.split("|")]


def imports(rooms: Sequence[str]) -> dict[str, set[str]]:
    """The rooms that each room imports from; imports for types alone count."""
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for path in (*SOURCE.glob("layerline/**/*.py"), *HOME.glob("ci/**/*.py")):
        base = SOURCE if path.is_relative_to(SOURCE) else HOME
        mine = _room(".".join(path.relative_to(base).with_suffix("").parts), rooms)
        if mine is not None:
            theirs = {_room(name, rooms) for name in _imported(path)}
            found[mine] |= {room for room in theirs if room is not None and room != mine}
    return found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _room(module: str, rooms: Sequence[str]) -> str | None:
    """The room that a module is in; None for other distributions and the engine's own facade."""
    for room in rooms:
        if module == room or module.startswith(f"{room}."):
            return room
    parts = module.split(".")
    if parts[0] != _TOOL or len(parts) == 1 or parts[1].startswith("__"):
        return None
    return _SHARED if (PACKAGE / f"{parts[1]}.py").is_file() else None


def reduced(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no path of others implies."""
    reach: dict[str, set[str]] = {}

    def below(room: str) -> set[str]:
        if room not in reach:
            reach[room] = set()  # a circle ends here
            reach[room] = arrows[room].union(*(below(each) for each in arrows[room]))
        return reach[room]

    return {
        room: {each for each in found if not any(each in below(other) for other in found - {each})}
        for room, found in arrows.items()
    }


def picture() -> str:
    """The picture in SVG."""
    rooms = Rooms.read()
    arrows = reduced(imports(rooms.names))
    boxes = rooms.boxes()
    height = max(box.bottom for box in boxes.values()) + _GAP
    pairs = [(boxes[room], boxes[each]) for room in arrows for each in sorted(arrows[room])]
    said = "; ".join(
        f"{_label(room)} imports {', '.join(sorted(map(_label, found)))}"
        for room, found in arrows.items()
        if found
    )
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{_LINE}"/></marker>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_STYLE} '
            f'role="img" aria-label="{escape(said)}">',
            f"<defs>{head}</defs>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            *(_shape(box) for box in boxes.values()),
            f'<g stroke="{_LINE}" fill="none" marker-end="url(#head)">',
            *_paths(pairs),
            "</g>",
            *(_text(box, _label(room)) for room, box in boxes.items()),
            "</svg>\n",
        ]
    )


def _paths(pairs: Sequence[tuple[Box, Box]]) -> Iterator[str]:
    """Lines from one room's edge to the next: straight down where one is below the other.

    Those past other rooms keep to the left of these, side by side.
    """
    lanes: Counter[float] = Counter()
    for begin, end in pairs:
        left = max(begin.left, end.left)
        right = min(begin.left + begin.width, end.left + end.width)
        start, stop = begin.middle, end.middle
        passes = end.top - begin.top > _ROW and begin.width != _BESIDE
        if left < right and passes:
            lanes[left] += 1
            start = stop = left + lanes[left] * _LANE
        elif left < right:
            start = stop = (left + right) / 2
        kind = ' stroke-dasharray="4 3"' if passes else ""
        yield f'<path d="M{start:.0f} {begin.bottom} {stop:.0f} {end.top}"{kind}/>'


def _shape(box: Box) -> str:
    return (
        f'<rect x="{box.left:.0f}" y="{box.top}" width="{box.width:.0f}" height="{_BOX}" rx="4" '
        f'fill="{_FILL}" stroke="{_LINE}"/>'
    )


def _text(box: Box, label: str) -> str:
    return (
        f'<text x="{box.middle:.0f}" y="{box.top + 22}" text-anchor="middle" fill="{_DARK}">'
        f"{escape(label)}</text>"
    )


def _label(room: str) -> str:
    short = room.removeprefix("layerline.")
    return "ci: this repository's module" if room == _CI else short.replace(".", " / ")
