"""The interpreter of scripts: lists, pipelines, loops, functions, redirections, jobs.

Commands that are neither functions of the script nor utilities of the shell are left to `execute`.
The options errexit, nounset and pipefail are set, as they are in Dagger shell.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from layerline.cli.shell.expansion import Expansion
from layerline.cli.shell.grammar import (
    AndOr,
    Case,
    For,
    FunctionDefinition,
    Group,
    If,
    Loop,
    Pipeline,
    Simple,
)
from layerline.cli.shell.scope import (
    ERREXIT,
    PIPEFAIL,
    Capture,
    ExitShell,
    ExpansionError,
    FileSink,
    Input,
    LeaveLoop,
    Nowhere,
    ReturnFromFunction,
    Status,
    Streams,
)
from layerline.errors import LayerlineError
from layerline.text_file import read_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from anyio.abc import TaskGroup

    from layerline.cli.shell.grammar import Command, Redirect, Script, Statement
    from layerline.cli.shell.scope import Scope, Sink

    Execute = Callable[[list[str], Scope, Streams], Awaitable[Status]]

_STDERR = 2


@dataclass(slots=True)
class Job:
    """A command in the background, under the name that `$!` gives it."""

    name: str
    ended: anyio.Event = field(default_factory=anyio.Event)
    status: Status = field(default_factory=Status)


@dataclass(slots=True, kw_only=True, eq=False)
class Interpreter:
    """Runs statements. `execute` runs a command, `resolve` gives what a file is to contain.

    A script that called `exit` has `left` the shell.
    """

    workdir: Path
    execute: Execute
    resolve: Callable[[str], Awaitable[str]]
    group: TaskGroup
    jobs: list[Job] = field(default_factory=list)
    left: bool = False

    async def run(self, script: Script, scope: Scope, streams: Streams) -> Status:
        """Run a script to its end; the status is that of the last command."""
        try:
            await self.script(script, scope, streams)
        except ExitShell as exc:
            scope.status = exc.status
            self.left = exc.asked
        except (LeaveLoop, ReturnFromFunction):
            pass
        return scope.status

    async def script(self, script: Script, scope: Scope, streams: Streams) -> Status:
        """Run statements in order."""
        for statement in script.statements:
            await self.statement(statement, scope, streams)
        return scope.status

    async def statement(self, statement: Statement, scope: Scope, streams: Streams) -> Status:
        """Run one statement; a failure that nothing expects ends the shell."""
        if statement.background:
            self._start(replace(statement, background=False), scope, streams)
            scope.status = Status()
            return scope.status
        scope.guarded += statement.negated
        try:
            status = await self._redirected(statement, scope, streams)
        finally:
            scope.guarded -= statement.negated
        if statement.negated:
            status = Status(int(status.code == 0))
        scope.status = status
        if status.code and not scope.guarded and not statement.negated:
            if ERREXIT in scope.options and not isinstance(statement.command, AndOr):
                raise ExitShell(status)
            if status.error is not None and isinstance(statement.command, Simple):
                await streams.stderr.write(f"Error: {status.error}\n")
        return status

    def _start(self, statement: Statement, scope: Scope, streams: Streams) -> None:
        """Run a statement in the background, in a subshell without standard input."""
        job = Job(f"g{len(self.jobs) + 1}")
        self.jobs.append(job)
        scope.last_job = job.name
        inner = scope.subshell()

        async def work() -> None:
            job.status = await self._in_subshell(
                self.statement(statement, inner, replace(streams, stdin=None))
            )
            job.ended.set()

        self.group.start_soon(work)

    async def wait(self, name: str) -> Status | None:
        """The status of a job once it has ended; None where no job has the name."""
        for job in self.jobs:
            if job.name == name:
                await job.ended.wait()
                return job.status
        return None

    async def _redirected(self, statement: Statement, scope: Scope, streams: Streams) -> Status:
        try:
            for redirect in statement.redirects:
                streams = await self._redirect(redirect, scope, streams)
            return await self._command(statement.command, scope, streams)
        except ExpansionError as exc:
            await streams.stderr.write(f"{exc}\n")
            raise ExitShell(Status(1)) from exc
        except LayerlineError as exc:
            return Status.of(exc)

    async def _redirect(self, redirect: Redirect, scope: Scope, streams: Streams) -> Streams:
        target = await self._expansion(scope, streams).text(redirect.target)
        match redirect.operator:
            case "<<":
                return replace(streams, stdin=Input(target))
            case "<&":
                return replace(streams, stdin=None) if target == "-" else streams
            case "<":
                text = read_text(self.workdir / target, shown=target)
                return replace(streams, stdin=Input(text))
            case ">&":
                sinks: dict[str, Sink] = {"1": streams.stdout, "2": streams.stderr, "-": Nowhere()}
                if target not in sinks:
                    message = f"unhandled >& arg: {target!r}"
                    raise LayerlineError(message)
                return _with_sink(streams, redirect.descriptor, sinks[target])
            case _:
                path = self.workdir / target
                mode = "a" if redirect.operator == ">>" else "w"
                _open(path, mode)
                return _with_sink(streams, redirect.descriptor, FileSink(path, self.resolve))

    async def _command(self, command: Command, scope: Scope, streams: Streams) -> Status:
        match command:
            case Simple():
                return await self._simple(command, scope, streams)
            case Pipeline(stages):
                return await self._pipeline(stages, scope, streams)
            case AndOr():
                return await self._and_or(command, scope, streams)
            case FunctionDefinition(name, body):
                scope.functions[name] = body
                return Status()
            case _:
                return await self._compound(command, scope, streams)

    async def _compound(
        self, command: Group | If | Loop | For | Case, scope: Scope, streams: Streams
    ) -> Status:
        match command:
            case Group(body, subshell=True):
                return await self._in_subshell(self.script(body, scope.subshell(), streams))
            case Group(body):
                return await self._inner(body, scope, streams)
            case If(branches):
                return await self._if(branches, scope, streams)
            case Loop():
                return await self._loop(command, scope, streams)
            case For():
                return await self._for(command, scope, streams)
            case Case():
                return await self._case(command, scope, streams)

    async def _inner(self, body: Script, scope: Scope, streams: Streams) -> Status:
        scope.status = Status()
        return await self.script(body, scope, streams)

    async def _in_subshell(self, work: Awaitable[Status]) -> Status:
        try:
            return await work
        except ExitShell as exc:
            return exc.status
        except (LeaveLoop, ReturnFromFunction):
            return Status()

    async def _pipeline(
        self, stages: tuple[Statement, ...], scope: Scope, streams: Streams
    ) -> Status:
        """Run the stages one after the other: each needs all that the one before it prints."""
        failed = Status()
        for stage in stages[:-1]:
            printed = Capture()
            status = await self._in_subshell(
                self.statement(stage, scope.subshell(), replace(streams, stdout=printed))
            )
            failed = status if status.code else failed
            streams = replace(streams, stdin=Input(printed.text))
        last = await self.statement(stages[-1], scope, streams)
        if last.code or PIPEFAIL not in scope.options:
            return last
        return failed

    async def _and_or(self, command: AndOr, scope: Scope, streams: Streams) -> Status:
        scope.guarded += 1
        try:
            left = await self.statement(command.left, scope, streams)
        finally:
            scope.guarded -= 1
        if (left.code == 0) != (command.operator == "&&"):
            return left
        return await self.statement(command.right, scope, streams)

    async def _holds(self, condition: Script, scope: Scope, streams: Streams) -> bool:
        scope.guarded += 1
        try:
            return (await self._inner(condition, scope, streams)).code == 0
        finally:
            scope.guarded -= 1

    async def _if(
        self, branches: tuple[tuple[Script | None, Script], ...], scope: Scope, streams: Streams
    ) -> Status:
        for condition, body in branches:
            if condition is None or await self._holds(condition, scope, streams):
                return await self._inner(body, scope, streams)
        return Status()

    async def _loop(self, command: Loop, scope: Scope, streams: Streams) -> Status:
        status = Status()
        while await self._holds(command.condition, scope, streams) != command.until:
            again, status = await self._iteration(command.body, scope, streams)
            if not again:
                break
        return status

    async def _for(self, command: For, scope: Scope, streams: Streams) -> Status:
        status = Status()
        items = list(scope.arguments)
        if command.words is not None:
            items = await self._expansion(scope, streams).fields(command.words)
        for item in items:
            scope.variables[command.name] = item
            again, status = await self._iteration(command.body, scope, streams)
            if not again:
                break
        return status

    async def _iteration(self, body: Script, scope: Scope, streams: Streams) -> tuple[bool, Status]:
        """Run the body of a loop once; whether the loop goes on."""
        try:
            return True, await self._inner(body, scope, streams)
        except LeaveLoop as exc:
            if exc.levels > 1:
                raise LeaveLoop(again=exc.again, levels=exc.levels - 1) from exc
            return exc.again, Status()

    async def _case(self, command: Case, scope: Scope, streams: Streams) -> Status:
        expansion = self._expansion(scope, streams)
        text = await expansion.text(command.word)
        for patterns, body in command.items:
            for pattern in patterns:
                if (await expansion.pattern(pattern)).match(text):
                    return await self._inner(body, scope, streams)
        return Status()

    async def _simple(self, command: Simple, scope: Scope, streams: Streams) -> Status:
        scope.substituted = Status()
        expansion = self._expansion(scope, streams)
        argv = await expansion.fields(command.words)
        values = {name: await expansion.text(word) for name, word in command.assignments}
        if not argv:
            scope.variables.update(values)
            return scope.substituted
        before = {name: scope.variables.get(name) for name in values}
        scope.variables.update(values)
        try:
            if argv[0] in scope.functions:
                return await self._function(argv, scope, streams)
            return await self.execute(argv, scope, streams)
        finally:
            for name, value in before.items():
                if value is None:
                    scope.variables.pop(name, None)
                else:
                    scope.variables[name] = value

    async def _function(self, argv: list[str], scope: Scope, streams: Streams) -> Status:
        """Call a function, which has positional parameters of its own."""
        before, scope.arguments = scope.arguments, argv[1:]
        try:
            return await self.statement(scope.functions[argv[0]], scope, streams)
        except ReturnFromFunction as exc:
            return Status(exc.code)
        finally:
            scope.arguments = before

    def _expansion(self, scope: Scope, streams: Streams) -> Expansion:
        async def substitute(script: Script) -> str:
            printed = Capture()
            inner = replace(streams, stdin=None, stdout=printed)
            scope.substituted = await self._in_subshell(
                self.script(script, scope.subshell(), inner)
            )
            return printed.text

        return Expansion(scope, self.workdir, substitute)


def _with_sink(streams: Streams, descriptor: int, sink: Sink) -> Streams:
    if descriptor == _STDERR:
        return replace(streams, stderr=sink)
    return replace(streams, stdout=sink)


def _open(path: Path, mode: str) -> None:
    """Create a file, or empty it."""
    try:
        with path.open(mode):
            pass
    except OSError as exc:
        message = f"open {path}: {os.strerror(exc.errno or 0).lower()}"
        raise LayerlineError(message) from exc
