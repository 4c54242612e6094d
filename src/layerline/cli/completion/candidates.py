"""The candidates for the last word of a command line: commands, flags, functions, values.

What a command takes is read from its help, which lists all of it; functions and their flags come
from the types of the module, as far as these are known without running it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.cli.completion.functions import CALLING, function_words
from layerline.cli.display.help import usages
from layerline.cli.flags import FlagSet
from layerline.cli.options import reference_flags
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from layerline.cli.console import Console

    HelpOf = Callable[[Sequence[str]], str]

# A directive of https://github.com/spf13/cobra/blob/v1.9.1/completions.go.
NO_FILES = 4
_FLAG = re.compile(
    r" +(?:-(?P<short>\w)(?: \S+)?, +)?--(?P<name>[\w-]+)(?: (?P<value>\S+))?"
    r"(?: {2,}|$)(?P<about>.*)"
)
_COMMAND = re.compile(r" {2,4}(?P<name>[a-z][\w-]*)(?: {2,}|$)(?P<about>.*)")
_LISTS = ("AVAILABLE COMMANDS", "positional arguments:")
_OPERANDS = {"completion": ("bash", "fish", "powershell", "zsh")}


@dataclass(frozen=True, slots=True)
class Found:
    """Words with their descriptions; without NO_FILES a shell offers files where it has no word."""

    words: list[tuple[str, str]]
    directive: int


def candidates(
    console: Console, argv: Sequence[str], commands: Mapping[str, str], help_of: HelpOf
) -> Found:
    """What the last argument can become.

    `commands` are the commands with their descriptions, `help_of` gives the help of one.
    """
    *before, prefix = argv or [""]
    try:
        words, directive = _words(console, before, prefix, commands, help_of)
    except LayerlineError:
        words, directive = [], 0
    fitting = [(name, about) for name, about in words if name.startswith(prefix)]
    return Found(fitting, directive)


def _words(
    console: Console,
    before: list[str],
    prefix: str,
    commands: Mapping[str, str],
    help_of: HelpOf,
) -> tuple[list[tuple[str, str]], int]:
    top = _flags(help_of(())) | _flags(usages(reference_flags(FlagSet()).visible()))
    place = _first_operand(before, top)
    if place is None:
        if _awaits_value(before, top):
            return [], 0
        if prefix.startswith("-"):
            return _spelled(top), NO_FILES
        return list(commands.items()), NO_FILES if not prefix else 0
    name, rest = before[place], before[place + 1 :]
    if name in CALLING:
        return function_words(console, name, rest, prefix)
    return _of_command(name, rest, prefix, help_of)


def _of_command(
    name: str, rest: list[str], prefix: str, help_of: HelpOf
) -> tuple[list[tuple[str, str]], int]:
    """The words of a command that calls no functions, and of its own commands."""
    text = help_of((name,))
    inner = _listed(text)
    if rest and rest[0] in dict(inner):
        text, inner, rest = help_of((name, rest[0])), [], rest[1:]
    flags = _flags(text)
    if _awaits_value(rest, flags):
        return [], 0
    if prefix.startswith("-"):
        return _spelled(flags), NO_FILES
    if name in _OPERANDS:
        return ([] if rest else [(word, "") for word in _OPERANDS[name]]), NO_FILES
    return inner, NO_FILES if inner else 0


def _flags(text: str) -> dict[str, tuple[bool, str]]:
    """The flags in a help: whether each takes a value, and what it is for."""
    found: dict[str, tuple[bool, str]] = {}
    for line in text.splitlines():
        match = _FLAG.match(line)
        if match is None:
            continue
        described = (match["value"] is not None, match["about"])
        found[f"--{match['name']}"] = described
        if match["short"]:
            found[f"-{match['short']}"] = described
    return found


def _listed(text: str) -> list[tuple[str, str]]:
    """The commands that a help lists."""
    found: list[tuple[str, str]] = []
    inside = False
    for line in text.splitlines():
        match = _COMMAND.match(line)
        if line in _LISTS:
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside and match is not None:
            found.append((match["name"], match["about"]))
    return found


def _spelled(flags: Mapping[str, tuple[bool, str]]) -> list[tuple[str, str]]:
    return [(name, about) for name, (_, about) in flags.items() if name.startswith("--")]


def _first_operand(argv: Sequence[str], flags: Mapping[str, tuple[bool, str]]) -> int | None:
    """The place of the first argument that is neither a flag nor the value of one."""
    value = False
    for place, arg in enumerate(argv):
        if value:
            value = False
        elif arg.startswith("-") and arg != "-":
            value = _awaits_value(argv[: place + 1], flags)
        else:
            return place
    return None


def _awaits_value(argv: Sequence[str], flags: Mapping[str, tuple[bool, str]]) -> bool:
    """Whether the last argument is a flag whose value comes next."""
    if not argv or "=" in argv[-1]:
        return False
    known = flags.get(argv[-1])
    return known is not None and known[0]
