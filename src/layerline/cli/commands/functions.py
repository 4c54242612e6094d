"""`functions`: what can be called, of a module or of what a chain of its functions returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.cli.chain.modules import load
from layerline.cli.chain.parser import callable_members, constructor_of, short
from layerline.cli.display.help import Page, columns
from layerline.cli.flags import FlagSet
from layerline.cli.options import module_flags
from layerline.engine.module.types import OBJECTS, element_of, reference
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console

_ABOUT = """List available functions in a module.

This is similar to `{program} call --help`, but only focused on showing the
available functions."""


def functions(console: Console, argv: Sequence[str]) -> int:
    """Print the table of functions."""
    flags = FlagSet((console.flags, module_flags()))
    path = f"{console.program} functions"
    chain = _operands(flags, argv, path)
    console.settle(flags.parents[1])
    if console.options.help:
        page = Page(
            about=_ABOUT.format(program=console.program),
            path=path,
            use="[options] [function]...",
            local=module_flags(),
            inherited=flags.parents[0],
        )
        console.print(page.text())
        return 0
    module = load(console)
    types = module.types
    constructor = constructor_of(types) if module.loaded is not None else None
    type_def = reference(constructor.owner if constructor is not None else "Query")
    for word in chain:
        found = next(
            (m for m in callable_members(types, type_def)[0] if word in (m.command, m.api_name)),
            None,
        )
        if found is None:
            message = f'no function "{word}" in type "{types.shown_name(type_def)}"'
            raise UsageError(message, usage=path)
        type_def = found.function.return_type
        if element_of(type_def).kind not in OBJECTS:
            what = f'function "{word}" returns type "{type_def.kind}"'
            message = f"{what} with no further functions available"
            raise UsageError(message, usage=path)
    usable, skipped = callable_members(types, type_def)
    if not chain and constructor is not None and constructor.function.args:
        # The constructor can also be called on its object, as `with`; no command line does that.
        skipped = [*skipped, "with"]
    rows = sorted((m.command, short(m.function.description)) for m in usable)
    console.print(columns([("Name", "Description"), *rows]))
    if skipped:
        names = ", ".join(skipped)
        console.print(f"\nSkipped {len(skipped)} function(s) with unsupported types: {names}\n")
    return 0


def _operands(flags: FlagSet, argv: Sequence[str], path: str) -> list[str]:
    operands: list[str] = []
    rest = list(argv)
    try:
        while rest := flags.parse(rest):
            operands.append(rest.pop(0))
    except UsageError as exc:
        raise UsageError(str(exc), usage=path) from exc
    return operands
