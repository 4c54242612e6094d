"""Flags of the commands that call no functions, and their help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.cli.display.help import Page
from layerline.cli.flags import Flag, FlagSet, parse_bool
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console


def add_text_flag(flags: FlagSet, name: str, *, short: str = "", usage: str = "") -> Flag:
    """Add a flag with a text for a value; one without `usage` is not in the help."""
    return flags.add(
        Flag(name=name, short=short, kind="string", parse=str, usage=usage, hidden=not usage)
    )


def parse_flags(flags: FlagSet, argv: Sequence[str], path: str) -> None:
    """Parse a command line without operands; a UsageError names the command."""
    try:
        rest = flags.parse(argv)
    except UsageError as exc:
        raise UsageError(str(exc), usage=path) from exc
    if rest:
        message = f'unknown command "{rest[0]}" for "{path}"'
        raise UsageError(message, usage=path)


def parse_operands(flags: FlagSet, argv: Sequence[str], path: str) -> list[str]:
    """Parse flags wherever they stand and return what is between them."""
    operands: list[str] = []
    rest = list(argv)
    try:
        while rest := flags.parse(rest):
            operands.append(rest.pop(0))
    except UsageError as exc:
        raise UsageError(str(exc), usage=path) from exc
    return operands


def add_switch(flags: FlagSet, name: str, usage: str, *, short: str = "") -> Flag:
    """Add a flag that is given or not."""
    return flags.add(
        Flag(name=name, short=short, kind="bool", parse=parse_bool, usage=usage, bare="true")
    )


def print_help(
    console: Console,
    *,
    about: str,
    path: str,
    use: str = "[options]",
    local: FlagSet | None = None,
    commands: Sequence[tuple[str, str]] = (),
) -> None:
    """Print the help of a command with the flags of every command."""
    page = Page(
        about=about,
        path=path,
        use=use,
        commands={"Available Commands": list(commands)},
        local=local,
        inherited=console.flags,
    )
    console.print(page.text())
