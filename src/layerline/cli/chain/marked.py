"""The functions of a module that are marked as checks, generators or services.

They may be deep: a function without required arguments leads to those of the object that it
returns. The walk and the patterns are those of
https://github.com/dagger/dagger/blob/v0.21.8/core/modtree.go and core/schema/workspace.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.cli.chain.arguments import is_required
from layerline.cli.chain.parser import Parser, Root, constructor_of
from layerline.cli.display.help import columns
from layerline.cli.flags import FlagSet
from layerline.engine.module.naming import kebab, lower_camel
from layerline.engine.module.types import reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerline.cli.chain.modules import CallTarget
    from layerline.cli.chain.parser import SelectedFunction
    from layerline.engine.module.definitions import ObjectTypeDef

CHECK, GENERATOR, UP = "check", "generator", "up"
_WILD = re.compile(r"(/?)\*\*(/|\Z)|\*|\?|\[[!^]?[^\]]+\]|\{[^}]*\}|.", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedFunction:
    """A marked function of the module `target`; `path` begins with the module's name."""

    path: tuple[str, ...]
    role: str
    description: str
    target: CallTarget

    @property
    def name(self) -> str:
        """The name as it is shown and may be given: `module:part:check`."""
        return ":".join(self.path)

    def chain(self, *more: str) -> list[SelectedFunction]:
        """The pipeline that calls it, and `more` on the result; defaults are the user's."""
        types = self.target.types
        main = types.main_object()
        root = Root(
            path=self.name,
            about="",
            use="",
            type_def=reference(main.name),
            own=FlagSet(),
            inherited=FlagSet(),
            member=constructor_of(types),
        )
        return Parser(types, root, self.target.defaults).parse([*self.path[1:], *more])


def find_marked(
    target: CallTarget, roles: Sequence[str], patterns: Sequence[str] = ()
) -> list[MarkedFunction]:
    """The marked functions of a module and of its toolchains that one of the patterns matches."""
    assert target.loaded is not None
    modules = [(target.loaded.name, target), *target.toolchains.items()]
    ignored = {each.name: each.ignored for each in target.loaded.config.toolchains}
    found = [
        [
            each
            for each in _of_module(kebab(name), module, roles)
            if not _means(ignored.get(name, {}).get(each.role, ()), each)
        ]
        for name, module in modules
    ]
    # Of several modules with generators, each is named by its module.
    short = CHECK in roles or UP in roles or sum(map(bool, found)) == 1
    return [
        each
        for functions in found
        for each in functions
        if not patterns or _means(patterns, each, short=short)
    ]


def table(*groups: tuple[str, Sequence[MarkedFunction]]) -> str:
    """Names and descriptions; each group but the first has its title above it."""
    rows = [("Name", "Description")]
    for title, functions in groups:
        if title and functions:
            rows += [("", ""), (title, "")]
        rows += [(each.name, each.description.split("\n", 1)[0]) for each in functions]
    return columns(rows)


def _of_module(name: str, target: CallTarget, roles: Sequence[str]) -> list[MarkedFunction]:
    found = {
        each.path: each
        for each in _walk(target, target.types.main_object(), (name,), frozenset())
        if each.role in roles
    }
    return [found[path] for path in sorted(found, key=":".join)]


def _walk(
    target: CallTarget, shape: ObjectTypeDef, path: tuple[str, ...], above: frozenset[str]
) -> Iterator[MarkedFunction]:
    """All functions below an object that need no arguments; no type is entered inside itself."""
    if shape.name in above:
        return
    for function in shape.functions:
        if any(is_required(arg) for arg in function.args):
            continue
        here = (*path, kebab(lower_camel(function.name)))
        yield MarkedFunction(
            path=here, role=function.role, description=function.description, target=target
        )
        returned = function.return_type
        below = target.types.own_object(returned.name) if returned.kind == "OBJECT_KIND" else None
        if below is not None and function.role not in (CHECK, GENERATOR, UP):
            yield from _walk(target, below, here, above | {shape.name})


def _means(patterns: Sequence[str], function: MarkedFunction, *, short: bool = True) -> bool:
    """Whether one of the patterns means a function; where `short`, also without its module."""
    return any(_matches(function.path, pattern, short=short) for pattern in patterns)


def _matches(path: tuple[str, ...], pattern: str, *, short: bool) -> bool:
    parts = [kebab(part) for part in pattern.split(":")]
    glob = re.compile(_translate("/".join(parts)))
    return any(
        glob.fullmatch("/".join(tail)) or list(tail[: len(parts)]) == parts
        for tail in ((path, path[1:]) if short else (path,))
    )


def _translate(glob: str) -> str:
    """A glob of https://github.com/bmatcuk/doublestar as a regular expression."""
    return "".join(_piece(match) for match in _WILD.finditer(glob))


def _piece(match: re.Match[str]) -> str:
    text = match[0]
    if "**" in text:
        return f"{match[1]}(?:.*{match[2]})?" if match[2] else f"(?:{match[1]}.*)?"
    if text[0] == "[":
        return "[" + text[1:].replace("!", "^", 1) if text[1] == "!" else text
    if text[0] == "{":
        return "(?:" + "|".join(map(_translate, text[1:-1].split(","))) + ")"
    return {"*": "[^/]*", "?": "[^/]"}.get(text, re.escape(text))
