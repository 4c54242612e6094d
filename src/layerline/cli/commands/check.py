"""`check`, `generate` and `up`: what the functions of a module are marked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.cli.chain.marked import CHECK, GENERATOR, UP, MarkedFunction, find_marked, table
from layerline.cli.chain.modules import load
from layerline.cli.commands.flag_parsing import add_switch, parse_operands, print_help
from layerline.cli.flags import FlagSet
from layerline.cli.options import reference_flags
from layerline.errors import Cancelled, LayerlineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session

_CHECK = """Run the checks of a module, and its generators, which must change nothing.

Checks are named 'module:part:check'. A pattern is the end of such a name, or what
leads to some, with wildcards; without one all of them run."""
_GENERATE = "Run the generators of a module, and apply what they change to the current directory"
_UP = "Start the services of a module, with their ports on this machine"
_USE = "[options] [pattern]..."


def check(console: Console, argv: Sequence[str]) -> int:
    """Run checks in parallel; the exit code is 1 when some fail."""
    own = _own_flags("List the checks")
    fail_fast = add_switch(own, "failfast", "Stop at the first failure")
    only = add_switch(own, "generate", "Only run generators")
    without = add_switch(own, "no-generate", "Do not run generators")
    found = _find(console, argv, own, (CHECK, GENERATOR), "check", _CHECK)
    if found is None:
        return 0
    if only.value and without.value:
        message = "--generate and --no-generate are mutually exclusive"
        raise UsageError(message, usage=f"{console.program} check")
    checks = [each for each in found if each.role == CHECK and not only.value]
    generators = [each for each in found if each.role == GENERATOR and not without.value]
    if own.flags["list"].value:
        console.print(table(("", checks), ("Generators", generators)))
        return 0

    async def run(session: Session, each: MarkedFunction) -> None:
        result = await _evaluate(session, console, each)
        if each.role == GENERATOR and result and not await _is_empty(session, result):
            message = (
                f"generate function {each.name} produced changes; "
                f"run '{console.program} generate {each.name}' to apply"
            )
            raise LayerlineError(message)

    return _in_session(
        console, [*checks, *generators], _together(run, fail_fast=bool(fail_fast.value))
    )


def generate(console: Console, argv: Sequence[str]) -> int:
    """Run generators in parallel, and apply their changes as one."""
    own = _own_flags("List the generators")
    found = _find_unless_listed(console, argv, own, GENERATOR, "generate", _GENERATE)
    if found is None:
        return 0
    if not found:
        console.info("no changes to apply")

    async def run(session: Session, generators: Sequence[MarkedFunction]) -> int:
        from layerline.cli.chain.changes import apply_changes, merge_changes

        made: dict[str, str] = {}

        async def make(served: Session, each: MarkedFunction) -> None:
            result = await _evaluate(served, console, each)
            if result is not None:
                made[each.name] = result

        await _together(make)(session, generators)
        results = [made[each.name] for each in generators if each.name in made]
        if not results:
            console.info("no changes to apply")
            return 0
        await apply_changes(console, session, [await merge_changes(session, results)])
        return 0

    return _in_session(console, found, run)


def up(console: Console, argv: Sequence[str]) -> int:
    """Start services and serve them until interrupted."""
    own = _own_flags("List the services")
    found = _find_unless_listed(console, argv, own, UP, "up", _UP)
    if found is None:
        return 0

    async def run(session: Session, each: MarkedFunction) -> None:
        await _evaluate(session, console, each, "up")

    try:
        return _in_session(console, found, _together(run, fail_fast=True))
    except Cancelled:
        return 0


def _own_flags(listing: str) -> FlagSet:
    own = reference_flags(FlagSet())
    add_switch(own, "list", listing, short="l")
    return own


def _find(
    console: Console,
    argv: Sequence[str],
    own: FlagSet,
    roles: Sequence[str],
    command: str,
    about: str,
) -> list[MarkedFunction] | None:
    """The functions that a command line means; None where help was asked for."""
    path = f"{console.program} {command}"
    patterns = parse_operands(FlagSet((console.flags, own)), argv, path)
    console.settle(own)
    if console.options.help:
        print_help(console, about=about, path=path, use=_USE, local=own)
        return None
    return find_marked(load(console), roles, patterns)


def _find_unless_listed(
    console: Console, argv: Sequence[str], own: FlagSet, role: str, command: str, about: str
) -> list[MarkedFunction] | None:
    """The functions of a role that are to run; None where help was asked for, or their list."""
    found = _find(console, argv, own, (role,), command, about)
    if found is not None and own.flags["list"].value:
        console.print(table(("", found)))
        return None
    return found


def _in_session(
    console: Console,
    functions: Sequence[MarkedFunction],
    work: Callable[[Session, Sequence[MarkedFunction]], Awaitable[int]],
) -> int:
    if not functions:
        return 0
    console.enter()
    from layerline.cli.chain.engine_session import run_in_session

    return run_in_session(console, lambda session: work(session, functions), interactive=True)


def _together(
    run: Callable[[Session, MarkedFunction], Awaitable[None]], *, fail_fast: bool = False
) -> Callable[[Session, Sequence[MarkedFunction]], Awaitable[int]]:
    """Work on all functions in parallel; their failures are raised as one."""

    async def work(session: Session, functions: Sequence[MarkedFunction]) -> int:
        from layerline.engine import task_group

        failures: list[LayerlineError] = []

        async def one(each: MarkedFunction) -> None:
            try:
                await run(session, each)
            except LayerlineError as exc:
                failures.append(exc)
                if fail_fast:
                    group.cancel_scope.cancel()

        async with task_group() as group:
            for each in functions:
                group.start_soon(one, each)
        if failures:
            raise LayerlineError("\n".join(map(str, failures)))
        return 0

    return work


async def _evaluate(
    session: Session, console: Console, function: MarkedFunction, *more: str
) -> str | None:
    """Call a function, and evaluate the object that it returns: its id, if it is one."""
    from layerline.cli.chain.engine_session import evaluation_in

    evaluation = evaluation_in(session, console, function.target)
    result = await evaluation.evaluate(function.chain(*more), "")
    return result.value if isinstance(result.value, str) else None


async def _is_empty(session: Session, changes: str) -> bool:
    from layerline.cli.chain.changes import is_empty

    return await is_empty(session, changes)
