"""`call` and `core`: parse a pipeline, evaluate it, and print the result."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.cli.chain.evaluate import CachedBackend, ChainResult, Evaluation, run_sync
from layerline.cli.chain.modules import CallTarget, load
from layerline.cli.chain.parser import Parser, Root, SelectedFunction, constructor_of, short
from layerline.cli.chain.publishing import publishing_defaults
from layerline.cli.chain.wheel_sources import (
    WheelSources,
    sources_for,
    takes_sources,
    with_login,
)
from layerline.cli.display.output import render, save
from layerline.cli.flags import FlagSet
from layerline.cli.options import module_flags, output_flags
from layerline.engine import Store
from layerline.engine.module.arguments import Reader
from layerline.engine.module.naming import kebab
from layerline.engine.module.types import Types, element_of, reference
from layerline.errors import Cancelled, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session
    from layerline.engine.module.types import Member

_CALL = "Call one or more functions, interconnected into a pipeline"
_CORE = "Call a core function"
_SHIPPING = frozenset({"asTarball", "export", "publish"})


def call(console: Console, argv: Sequence[str]) -> int:
    """Call functions of a module, or with --no-mod those of the core API."""
    module = load(console)
    if module.loaded is None:
        return _run_chain(console, argv, _core_root(console, "call", module_flags()), module)
    path = f"{console.program} call"
    if (name := _toolchain(console, module, argv)) is not None:
        place = list(argv).index(name)
        module, argv = module.toolchain(name) or module, [*argv[:place], *argv[place + 1 :]]
        path = f"{path} {name}"
    constructor = constructor_of(module.types)
    module, sources = _with_machine(console, module, constructor)
    if takes_sources(constructor):
        module = _with_registry(console, module, argv)
    root = Root(
        path=path,
        about=_CALL,
        use="[options] <function>",
        type_def=reference(module.types.main_object().name),
        own=module_flags(),
        inherited=console.flags,
        member=constructor,
    )
    return _run_chain(console, argv, root, module, sources)


def _with_machine(
    console: Console, module: CallTarget, constructor: Member
) -> tuple[CallTarget, WheelSources]:
    """The module with the machine's sources of wheels as defaults, if it is made for them."""
    sources = sources_for(constructor, console.settings)
    console.settings = with_login(console.settings, sources)
    return replace(module, defaults=replace(module.defaults, machine=sources.texts)), sources


def _with_registry(console: Console, module: CallTarget, argv: Sequence[str]) -> CallTarget:
    """The module with the machine's login and key for `publish`; not one from elsewhere."""
    if module.loaded is None or module.loaded.config.is_foreign:
        return module
    texts, variables = publishing_defaults(console.settings, argv)
    environ = {**console.settings.environ, **variables}
    console.settings = replace(console.settings, environ=environ)
    return replace(module, defaults=replace(module.defaults, functions=texts))


def _toolchain(console: Console, module: CallTarget, argv: Sequence[str]) -> str | None:
    """The toolchain that a command line begins with, whose functions the rest of it names."""
    if not module.toolchains:
        return None
    flags = FlagSet((console.flags, module_flags()))
    try:
        rest = flags.parse(argv)
    except UsageError:  # flags of the module's own constructor
        return None
    return rest[0] if rest and module.toolchain(rest[0]) is not None else None


def core(console: Console, argv: Sequence[str]) -> int:
    """Call functions of the core API."""
    own = output_flags(FlagSet())
    root = replace(_core_root(console, "core", own), about=_CORE, experimental=True)
    return _run_chain(console, argv, root, CallTarget(types=Types()))


def _core_root(console: Console, command: str, own: FlagSet) -> Root:
    return Root(
        path=f"{console.program} {command}",
        about=_CALL,
        use="[options] <function>",
        type_def=reference("Query"),
        own=own,
        inherited=console.flags,
    )


def _run_chain(
    console: Console,
    argv: Sequence[str],
    root: Root,
    module: CallTarget,
    sources: WheelSources | None = None,
) -> int:
    parser = Parser(module.types, root, module.defaults, wants_help=console.options.help)
    selected = parser.parse(argv)
    if not selected or selected[-1].member is root.member:
        parser.page.commands["Functions"] += toolchain_rows(module)
    console.settle(root.own)
    if console.options.help or not selected:
        console.print(parser.page.text())
        return 0
    for note in sources.notes(module.defaults.used) if sources else ():
        console.info(note)
    try:
        result = _evaluate_from_store(console, selected, module) or _evaluate_in_session(
            console, selected, module
        )
    except Cancelled:
        if _serves(selected):
            return 0
        raise
    _show(console, result, module.types)
    return 0


def toolchain_rows(module: CallTarget) -> list[tuple[str, str]]:
    """The toolchains among a module's functions: their names, and what they are for."""
    mains = {name: target.types.main_object() for name, target in module.toolchains.items()}
    return [
        (
            kebab(name),
            short((main.constructor and main.constructor.description) or main.description),
        )
        for name, main in mains.items()
    ]


def _serves(selected: Sequence[SelectedFunction]) -> bool:
    """Whether the pipeline ends in what runs until it is interrupted."""
    last = selected[-1].member
    return not last.owner and last.api_name == "up"


def packing(selected: Sequence[SelectedFunction]) -> str | None:
    """How the layers of the image that a pipeline ends in are to be compressed.

    Empty where the engine chooses, None where no image is written or pushed. A module's function
    that has `compression` among its arguments is taken for one that pushes: a wrong guess costs
    work, and nothing else.
    """
    last = selected[-1]
    if last.member.owner:
        from layerline.engine import COMPRESSIONS

        named = last.value("compression")
        return named if named in map(str.lower, COMPRESSIONS) else None
    if last.member.api_name not in _SHIPPING or len(selected) == 1:
        return None
    if element_of(selected[-2].member.function.return_type).name != "Container":
        return None
    return last.given_values.get("forcedCompression") or ""


def _evaluate_from_store(
    console: Console, selected: Sequence[SelectedFunction], module: CallTarget
) -> ChainResult | None:
    """Evaluate from the store alone; None where a call on the way is not cached."""
    if module.loaded is None or console.options.stay:
        return None
    with Store.open(console.settings.store) as store:
        backend = CachedBackend(module=module.loaded, reader=Reader(store=store))
        evaluation = Evaluation(
            backend=backend,
            types=module.types,
            workdir=console.workdir,
            home=console.settings.home,
        )
        return run_sync(evaluation.evaluate(selected, console.options.output))


def _evaluate_in_session(
    console: Console, selected: Sequence[SelectedFunction], module: CallTarget
) -> ChainResult:
    """Evaluate in the engine."""
    console.enter()
    from layerline.cli.chain.engine_session import evaluation_in, run_in_session
    from layerline.engine.api.image_export import pack_ahead, prefer_form

    async def work(session: Session) -> ChainResult:
        if (compression := packing(selected)) is not None:
            pack_ahead(session, compression or None)
            if compression or selected[-1].member.api_name == "publish":
                prefer_form(session, compression or None)
        evaluation = evaluation_in(session, console, module)
        result = await evaluation.evaluate(selected, console.options.output)
        if element_of(result.type_def).name == "Changeset" and result.saved is None:
            from layerline.cli.chain.changes import apply_changes

            found = result.value if isinstance(result.value, list) else [result.value]
            await apply_changes(console, session, found)
        return result

    return run_in_session(console, work, interactive=True, stay=True)


def _show(console: Console, result: ChainResult, types: Types) -> None:
    output = console.options.output
    if result.saved is not None:
        console.info(f'Saved to "{result.saved}".')
        return
    if element_of(result.type_def).name == "Changeset":
        return
    text = render(
        result.value,
        result.type_def,
        types,
        as_json=console.options.json,
        fields=result.fields,
    )
    if output and result.type_def.kind != "VOID_KIND":
        console.info(f'Saved output to "{save(text, output, console.workdir)}".')
    console.print(text)
    if sys.stdout.isatty() and text and not text.endswith("\n"):
        console.print("\n")
