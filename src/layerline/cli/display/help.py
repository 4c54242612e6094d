"""What --help prints, laid out as the Dagger CLI does: aligned, and wrapped at 79 columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerline.cli.flags import Flag, FlagSet

WIDTH = 79
_NAME_PADDING = 11
_SLOP = 5
_LEAST_WRAP = 24
_BLOCK_INDENT = 16
_SHOWN_TYPES = {
    "bool": "",
    "float64": "float",
    "stringSlice": "strings",
    "intSlice": "ints",
    "boolSlice": "bools",
}


@dataclass(slots=True, kw_only=True)
class Page:
    """The help of one command. `commands` are (name, description) pairs under titles."""

    about: str
    path: str
    use: str = ""
    experimental: bool = False
    commands: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    local: FlagSet | None = None
    inherited: FlagSet | None = None

    def text(self) -> str:
        """The page as it is printed."""
        parts = [
            self.about.rstrip() or "-",
            "USAGE\n  " + " ".join(filter(None, (self.path, self.use))),
        ]
        if self.experimental:
            parts.append(
                f"EXPERIMENTAL\n  {self.path} is currently under development "
                "and may change in the future."
            )
        listed = {title: rows for title, rows in self.commands.items() if rows}
        parts += [f"{title.upper()}\n{_commands(rows)}" for title, rows in listed.items()]
        if self.local is not None and self.local.visible():
            parts.append(_groups(self.local).rstrip())
        if self.inherited is not None and self.inherited.visible():
            parts.append("INHERITED OPTIONS\n" + usages(self.inherited.visible()).rstrip())
        if listed:
            parts.append(
                f'Use "{self.path} [command] --help" for more information about a command.'
            )
        return "\n\n".join(parts) + "\n"


def usages(flags: Sequence[Flag]) -> str:
    """An entry for each flag: names, type and description, aligned and wrapped."""
    rows = [(_names(flag), _description(flag)) for flag in flags]
    widest = max((len(left) for left, _ in rows), default=0)
    lines = [
        f"{left}{' ' * (widest - len(left))}   {wrap(widest + 3, right)}\n" for left, right in rows
    ]
    return "".join(lines)


def wrap(indent: int, text: str) -> str:
    """Break a text into lines that fit behind `indent` columns; the first is indented already."""
    room = WIDTH - indent
    head = ""
    if room < _LEAST_WRAP:
        indent, room = _BLOCK_INDENT, WIDTH - _BLOCK_INDENT
        head = "\n" + " " * indent
    room -= _SLOP
    margin = "\n" + " " * indent
    line, rest = _first_line(room, text)
    out = head + line.replace("\n", margin)
    while rest:
        line, rest = _first_line(room, rest)
        out += margin + line.replace("\n", margin)
    return out


def columns(rows: Iterable[tuple[str, str]]) -> str:
    """Rows of a name and a description, with three spaces between the columns."""
    known = list(rows)
    widest = max((len(name) for name, _ in known), default=0)
    return "".join(f"{name.ljust(widest + 3)}{text}\n" for name, text in known)


def _first_line(room: int, text: str) -> tuple[str, str]:
    if room + _SLOP > len(text):
        return text, ""
    begin = text[:room]
    space = max(begin.rfind(char) for char in " \t\n")
    if space <= 0:
        return text, ""
    newline = begin.rfind("\n")
    cut = newline if 0 < newline < space else space
    return text[:cut], text[cut + 1 :]


def _names(flag: Flag) -> str:
    left = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
    shown = _SHOWN_TYPES.get(flag.kind, flag.kind)
    return f"{left} {shown}" if shown else left


def _description(flag: Flag) -> str:
    text = f"{flag.usage} [required]".strip() if flag.required else flag.usage
    if not flag.shows_default:
        return text
    default = f'"{flag.default}"' if flag.kind == "string" else flag.default
    return f"{text} (default {default})"


def _groups(flags: FlagSet) -> str:
    groups: dict[str, list[Flag]] = {}
    for flag in flags.visible():
        groups.setdefault(flag.group, []).append(flag)
    return "\n".join(
        f"{title.upper()}\n{usages(sorted(group, key=lambda flag: not flag.required))}"
        for title, group in sorted(groups.items())
    )


def _commands(rows: list[tuple[str, str]]) -> str:
    padding = max(_NAME_PADDING, *(len(name) for name, _ in rows))
    return "\n".join(_command(name, text, padding) for name, text in sorted(rows))


def _command(name: str, text: str, padding: int) -> str:
    left = f"  {name.ljust(padding)}   "
    if len(left) + len(text) < WIDTH:
        return left + text
    lines = _wrap_words(text, WIDTH - len(left))
    return left + ("\n" + " " * len(left)).join(lines)


def _wrap_words(text: str, room: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines
