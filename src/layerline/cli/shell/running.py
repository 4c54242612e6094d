"""Scripts run in a session: code, files, standard input, or line by line at a prompt."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.cli.chain.modules import module_reference
from layerline.cli.chain.wheel_sources import LOGIN_VARIABLE
from layerline.cli.shell.commands import ExitStatus
from layerline.cli.shell.evaluator import Evaluator
from layerline.cli.shell.handler import Handler
from layerline.cli.shell.interpreter import Interpreter
from layerline.cli.shell.modules import CORE, Modules, is_module_around
from layerline.cli.shell.parser import parse_script
from layerline.cli.shell.places import place_of
from layerline.cli.shell.scope import Printed, Scope, Streams
from layerline.cli.shell.states import StateStore
from layerline.engine import task_group
from layerline.text_file import read_standard_input, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anyio.abc import TaskGroup

    from layerline.cli.console import Console
    from layerline.cli.shell.places import Place
    from layerline.cli.shell.scope import Status
    from layerline.engine.api.session import Session


@dataclass(frozen=True, slots=True)
class Source:
    """A script: its text, and the name that errors begin with."""

    text: str
    name: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Shell:
    """A shell in a session: where it stands, and its variables."""

    console: Console
    handler: Handler
    interpreter: Interpreter
    scope: Scope
    streams: Streams

    @classmethod
    async def open(cls, console: Console, session: Session, group: TaskGroup) -> Shell:
        """The shell of a console, with the module that its options name or that is around."""
        evaluator = Evaluator(console=console, session=session, store=StateStore())
        modules = Modules(console=console, session=session)
        place = await _first_place(console, modules)
        handler = Handler(evaluator=evaluator, modules=modules, place=place)
        interpreter = Interpreter(
            workdir=console.workdir,
            execute=handler.execute,
            resolve=evaluator.resolve,
            group=group,
        )
        handler.interpreter = interpreter
        variables = console.settings.environ.items()
        scope = Scope.of({name: text for name, text in variables if name != LOGIN_VARIABLE})
        streams = Streams(
            stdin=None,
            stdout=Printed(evaluator.resolve, functools.partial(_show, console)),
            stderr=Printed(evaluator.resolve, lambda text: console.info(text.rstrip("\n"))),
        )
        return cls(
            console=console, handler=handler, interpreter=interpreter, scope=scope, streams=streams
        )

    async def run(self, source: Source) -> Status:
        """Run a script; the variables and functions that it sets remain."""
        script = parse_script(source.text, source.name)
        return await self.interpreter.run(script, self.scope, self.streams)


async def run_sources(console: Console, session: Session, sources: Sequence[Source]) -> None:
    """Run scripts one after the other, each with variables of its own, up to one that fails."""
    async with task_group() as group:
        shell = await Shell.open(console, session, group)
        for source in sources:
            shell.scope = Scope.of(console.settings.environ)
            check(await shell.run(source))
        for job in shell.interpreter.jobs:
            await job.ended.wait()


def check(status: Status) -> None:
    """Raise what a status stands for."""
    if status.error is not None:
        raise status.error
    if status.code:
        raise ExitStatus(status.code)


def read_sources(paths: Sequence[str], workdir: Path) -> list[Source]:
    """The scripts in files, or without any that on standard input."""
    if not paths:
        return [Source(read_standard_input(), "-")]
    hint = "name a file with a script, or give one with --code"
    return [Source(read_text(workdir / path, shown=path, hint=hint), path) for path in paths]


async def _first_place(console: Console, modules: Modules) -> Place:
    """Where the shell begins: at the module of the options, or in the working directory."""
    workdir, reference = console.workdir, module_reference(console)
    if console.options.no_module:
        return place_of(CORE, at=workdir, with_module=False)
    if reference is None and not is_module_around(workdir):
        return place_of(CORE, at=workdir, with_module=True)
    target = await modules.load(reference, workdir)
    named = (workdir / reference).resolve() if reference else workdir
    return place_of(target, at=named, with_module=True)


def _show(console: Console, text: str) -> None:
    """Write a result to stdout; a terminal gets the newline that it lacks."""
    if not text:
        return
    newline = "\n" if sys.stdout.isatty() and not text.endswith("\n") else ""
    with console.journal.pause():
        console.print(text + newline)
