"""`functions`: what can be called, of a module or of what a chain of its functions returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.cli.chain.modules import load
from layerline.cli.chain.parser import callable_members, constructor_of, short
from layerline.cli.commands.call import toolchain_rows
from layerline.cli.commands.flag_parsing import parse_operands, print_help
from layerline.cli.display.help import columns
from layerline.cli.flags import FlagSet
from layerline.cli.options import module_flags
from layerline.engine.module.types import OBJECTS, element_of, reference
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console
    from layerline.engine.module.definitions import TypeDef
    from layerline.engine.module.types import Types

_ABOUT = """List available functions in a module.

This is similar to `{program} call --help`, but only focused on showing the
available functions."""


def functions(console: Console, argv: Sequence[str]) -> int:
    """Print the table of functions."""
    flags = FlagSet((console.flags, module_flags()))
    path = f"{console.program} functions"
    chain = parse_operands(flags, argv, path)
    console.settle(flags.parents[1])
    if console.options.help:
        about = _ABOUT.format(program=console.program)
        use = "[options] [function]..."
        print_help(console, about=about, path=path, use=use, local=module_flags())
        return 0
    target = load(console)
    if chain and (toolchain := target.toolchain(chain[0])) is not None:
        target, chain = toolchain, chain[1:]
    constructor = constructor_of(target.types) if target.loaded is not None else None
    type_def = reference(constructor.owner if constructor is not None else "Query")
    for name in chain:
        type_def = _returned_object(target.types, type_def, name, path)
    usable, skipped = callable_members(target.types, type_def)
    if not chain and constructor is not None and constructor.function.args:
        # The constructor can also be called on its object, as `with`; no command line does that.
        skipped = [*skipped, "with"]
    rows = [(m.command, short(m.function.description)) for m in usable]
    _print_table(console, [*rows, *([] if chain else toolchain_rows(target))], skipped)
    return 0


def _returned_object(types: Types, type_def: TypeDef, name: str, path: str) -> TypeDef:
    """The type that a function of a type returns, which must have functions itself."""
    for member in callable_members(types, type_def)[0]:
        if name in (member.command, member.api_name):
            returned = member.function.return_type
            break
    else:
        message = f'no function "{name}" in type "{types.shown_name(type_def)}"'
        raise UsageError(message, usage=path)
    if element_of(returned).kind not in OBJECTS:
        what = f'function "{name}" returns type "{returned.kind}"'
        message = f"{what} with no further functions available"
        raise UsageError(message, usage=path)
    return returned


def _print_table(console: Console, rows: Sequence[tuple[str, str]], skipped: Sequence[str]) -> None:
    console.print(columns([("Name", "Description"), *sorted(rows)]))
    if skipped:
        names = ", ".join(skipped)
        console.print(f"\nSkipped {len(skipped)} function(s) with unsupported types: {names}\n")
