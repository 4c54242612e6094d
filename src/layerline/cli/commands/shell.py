"""`shell`: scripts of Dagger shell, and the shell at a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from layerline.cli.chain.wheel_sources import wheel_sources, with_login
from layerline.cli.commands.flag_parsing import add_text_flag, print_help
from layerline.cli.flags import FlagSet
from layerline.cli.options import reference_flags
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console
    from layerline.cli.shell.running import Source
    from layerline.engine.api.session import Session

_ABOUT = """Run scripts of Dagger shell, or an interactive shell.

A script is given with --code, as files, or on standard input; without one, commands are
read from the terminal."""


def shell(console: Console, argv: Sequence[str]) -> int:
    """Run scripts, or read commands from the terminal."""
    path = f"{console.program} shell"
    flags = reference_flags(FlagSet((console.flags,)))
    code = add_text_flag(flags, "code", short="c", usage="Command to be executed")
    try:
        paths = flags.parse(argv)
    except UsageError as exc:
        raise UsageError(str(exc), usage=path) from exc
    console.settle(flags)
    if console.options.help:
        use = "[options] [file...]"
        print_help(console, about=_ABOUT, path=path, use=use, local=flags)
        return 0
    if console.options.no_module and console.options.module is not None:
        message = "--mod and --no-mod are mutually exclusive: use one of them"
        raise UsageError(message)
    console.settings = with_login(console.settings, wheel_sources(console.settings))
    if not code.value and not paths and sys.stdin.isatty():
        return _interact(console)
    from layerline.cli.shell.running import Source, read_sources

    sources = [Source(code.value)] if code.value else read_sources(paths, console.workdir)
    _run(console, sources)
    return 0


def _run(console: Console, sources: Sequence[Source]) -> None:
    console.enter()
    from layerline.cli.chain.engine_session import run_in_session
    from layerline.cli.shell.running import run_sources

    async def work(session: Session) -> None:
        await run_sources(console, session, sources)

    run_in_session(console, work, interactive=True, stay=True)


def _interact(console: Console) -> int:
    console.enter()
    from layerline.cli.chain.engine_session import run_in_session
    from layerline.cli.shell.prompt import run_prompt

    async def work(session: Session) -> int:
        return await run_prompt(console, session)

    return run_in_session(console, work, interactive=True, interrupts=False)
