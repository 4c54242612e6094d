"""What a call that built something did, in a few lines at its end."""

from __future__ import annotations

import os.path
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.cli.display.earlier_builds import FIRST, part_of
from layerline.cli.display.wrapping import wrap
from layerline.log import Status
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.cli.display.earlier_builds import EarlierBuilds
    from layerline.cli.display.step_tree import Node, StepTree

BYTES = "layerline.bytes"
SIZE = "layerline.size"
PASSED = "layerline.passed"
DIGEST = "layerline.digest"
PATH = "layerline.path"
IMAGE = "layerline.image"
PORTS = "layerline.ports"
NEXT = "layerline.next"
_FINISHED = (Status.DONE, Status.CACHED)
_SLOWEST = 3
_LEAST_SECONDS = 1.0
_WIDEST_NAME = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The lines about a call whose spans succeeded; none where there were no spans.

    `width` is that of the terminal, None for a file or a pipe, where lines are not broken. Paths
    are shown as they are from `workdir`.
    """

    tree: StepTree
    builds: EarlierBuilds
    workdir: Path
    width: int | None = None

    def lines(self) -> Iterator[str]:
        """A row for each part of what was built, the slowest steps, and what was written."""
        roots = [node for node in self.tree.roots() if node.status() in _FINISHED]
        for root in roots:
            yield from self._of_root(root)
        yield from self._written()

    def _of_root(self, root: Node) -> Iterator[str]:
        parts: dict[str, list[Node]] = {}
        for node in root.spans():
            parts.setdefault(part_of(node), []).append(node)
        made = {name: _made(nodes) for name, nodes in parts.items()}
        reused = sum(not nodes for nodes in made.values())
        rebuilt = len(parts) - reused
        head = f"{root.last.name}: {root.last.seconds:.1f} s, {rebuilt} rebuilt, {reused} reused"
        why = {name: self.builds.why(nodes) for name, nodes in made.items()}
        is_first = set(why.values()) == {FIRST}
        yield from self._wrapped(f"{head}, {FIRST}" if is_first else head, "")
        room = min(_WIDEST_NAME, max(map(len, parts), default=0))
        for name, nodes in parts.items():
            yield from self._wrapped(_row(name, nodes, made[name], room), " " * (room + 4))
            if why[name] and not is_first:
                indent = " " * (room + 4)
                yield from self._wrapped(indent + why[name], indent)
        yield from self._slowest([node for nodes in made.values() for node in nodes])

    def _slowest(self, made: list[Node]) -> Iterator[str]:
        slowest = sorted(made, key=lambda node: -node.last.seconds)[:_SLOWEST]
        named = [
            f"{node.last.name.partition(': ')[0]} {node.last.seconds:.1f} s"
            for node in slowest
            if node.last.seconds >= _LEAST_SECONDS
        ]
        if len(made) > _SLOWEST and named:
            yield from self._wrapped(f"slowest: {', '.join(named)}", " " * 9)

    def _written(self) -> Iterator[str]:
        for node in self.tree.nodes.values():
            facts = node.last.attributes
            if DIGEST not in facts or node.last.status not in _FINISHED:
                continue
            size = format_size(_number(node, BYTES))
            yield f"image    {_line(facts[DIGEST])}"
            where = self._relative(_line(facts[PATH])) if PATH in facts else node.last.name
            unchanged = ", unchanged" if node.last.status is Status.CACHED else ""
            yield from self._wrapped(f"written  {where}, {size}{unchanged}", " " * 9)
            if command := self._next(node):
                # A command is not broken: it is to be copied.
                yield f"next     {command}"

    def _next(self, node: Node) -> str:
        """The command that comes next; empty where there is none."""
        facts = node.last.attributes
        if NEXT in facts:
            return _line(facts[NEXT])
        ports = filter(None, _line(facts.get(PORTS, "")).split(","))
        argv = ["docker", "run", "--rm", *(f"-p{each}:{each}" for each in map(_number_of, ports))]
        if IMAGE in facts:
            return shlex.join([*argv, _line(facts[IMAGE])])
        path = _line(facts.get(PATH, ""))
        if not path or Path(path).is_dir():
            return ""
        # docker prints "Loaded image ID: ID", or a name instead of it.
        load = shlex.join(["docker", "load", "-qi", self._relative(path)])
        return f"{shlex.join(argv)} $({load} | sed 's/.*: //')"

    def _relative(self, path: str) -> str:
        short = os.path.relpath(path, self.workdir)
        return path if short.startswith("..") else short

    def _wrapped(self, text: str, indent: str) -> Iterator[str]:
        if self.width is None:
            yield text
        else:
            yield from wrap(text, self.width, indent)


def _row(name: str, nodes: list[Node], made: list[Node], room: int) -> str:
    seconds = f"{sum(node.last.seconds for node in made):6.1f} s" if made else " " * 8
    size = sum(_number(node, SIZE) for node in nodes)
    facts = []
    if downloaded := sum(_number(node, BYTES) for node in made):
        facts.append(f"{format_size(downloaded)} downloaded")
    if passed := sum(_number(node, PASSED) for node in nodes):
        facts.append(f"{passed:.0f} probes passed")
    columns = [
        f"  {name:<{room}}",
        f"{_state(made):<7}",
        seconds,
        f"{format_size(size) if size else '':>8}",
        ", ".join(facts),
    ]
    return "  ".join(columns).rstrip()


def _state(made: list[Node]) -> str:
    if not made:
        return "reused"
    return "probed" if all(PASSED in node.last.attributes for node in made) else "rebuilt"


def _made(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.status() is not Status.CACHED]


def _number_of(port: str) -> str:
    return port.partition("/")[0]


def _line(value: object) -> str:
    return str(value).replace("\n", " ")


def _number(node: Node, attribute: str) -> float:
    """The attribute as a number: a module may set any attribute to anything."""
    count = node.last.attributes.get(attribute)
    return count if isinstance(count, int | float) else 0
