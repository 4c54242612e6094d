"""The commands of a shell that begin with a dot.

After https://github.com/dagger/dagger/blob/v0.21.8/cmd/dagger/shell_commands.go.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import command as programs
from layerline.cli.chain.parser import constructor_of, short
from layerline.cli.shell import documentation
from layerline.cli.shell.binding import shown_type
from layerline.cli.shell.builtin_utilities import run_utility
from layerline.cli.shell.modules import CORE
from layerline.cli.shell.places import place_of
from layerline.engine.module.queries import ask, literal
from layerline.engine.module.types import OBJECTS, element_of, reference
from layerline.errors import LayerlineError, NotSupported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from layerline.cli.shell.handler import Handler
    from layerline.cli.shell.places import Place
    from layerline.cli.shell.scope import Scope, Streams
    from layerline.cli.shell.states import State
    from layerline.engine.module.loading import LoadedDependency

_PROGRAM = "from layerline.cli.main import main; main()"
# The functions of the API that `.help` lists; all can be called.
PROMOTED = (
    *("address", "cache-volume", "container", "directory", "engine", "env", "file", "git", "host"),
    *("http", "json", "secret", "set-secret", "version"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command as it is run: its arguments, what was piped into it, and where it runs."""

    name: str
    handler: Handler
    arguments: list[str]
    state: State | None
    scope: Scope
    streams: Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class DotCommand:
    """A command: its usage, and the most arguments that it takes.

    Nothing may be piped into it unless `piped` says so.
    """

    use: str
    about: str
    run: Callable[[Invocation], Awaitable[None]]
    most: int | None = None
    piped: bool = False
    hidden: bool = False

    @property
    def name(self) -> str:
        """The command itself."""
        return self.use.split()[0]

    def check(self, arguments: list[str], state: State | None) -> None:
        """Raise LayerlineError for arguments or a place that the command does not take."""
        count = len(arguments)
        wrong = ""
        if state is not None and not self.piped:
            wrong = "cannot be piped"
        elif self.most == 0 and count:
            wrong = f"received unknown {count} args"
        elif self.most is not None and count > self.most:
            wrong = f"accepts at most {self.most} argument(s), received {count}"
        if wrong:
            message = f'command "{self.name}" {wrong}\n\nUsage: {self.use}'
            raise LayerlineError(message)

    def document(self) -> str:
        """What `.help` prints for it."""
        return documentation.sections([("", self.about), ("Usage", self.use)])


def find_command(name: str) -> DotCommand | None:
    """The command of a name."""
    return next((command for command in COMMANDS if command.name == name), None)


async def run_command(command: DotCommand, invocation: Invocation) -> None:
    """Run a command; states in its arguments are replaced by their values."""
    command.check(invocation.arguments, invocation.state)
    evaluator = invocation.handler.evaluator
    invocation.arguments[:] = [await evaluator.resolve(text) for text in invocation.arguments]
    await command.run(invocation)


async def _print(invocation: Invocation, text: str) -> None:
    await invocation.streams.stdout.write(text + "\n")


async def _help(invocation: Invocation) -> None:
    handler, arguments, state = invocation.handler, invocation.arguments, invocation.state
    if state is not None:
        await _print(invocation, _state_document(state, arguments))
        return
    await _print(
        invocation, await _document(handler, arguments[0]) if arguments else _overview(handler)
    )


def _state_document(state: State, arguments: list[str]) -> str:
    """The documentation of what a pipeline gives, or of a function of that."""
    if not arguments:
        return documentation.type_document(state.target.types, state.type_def)
    if element_of(state.type_def).kind not in OBJECTS:
        shown = shown_type(state.type_def)
        message = f'type "{shown}" does not provide functions'
        raise LayerlineError(message)
    member = state.next_member(arguments[0])
    return documentation.function_document(state.target, member, member.command)


async def _document(handler: Handler, name: str) -> str:
    """The documentation of what a name stands for where a pipeline begins."""
    command = find_command(name)
    if command is not None:
        return command.document()
    target = handler.place.target
    type_def = documentation.find_type(target.types, name)
    if type_def is not None:
        return documentation.type_document(target.types, type_def)
    found = await handler.find(name, constructs=False)
    if found.label.endswith("constructor"):
        return documentation.module_document(found.state.target, name)
    return documentation.function_document(
        found.state.target, found.member, found.member.command or name
    )


def _overview(handler: Handler) -> str:
    """All that a pipeline can begin with; what hides something else stands in its place."""
    target = handler.place.target
    functions = [(m.command, short(m.function.description)) for m in handler.own_functions()]
    dependencies = [(each.name, _about(handler, each)) for each in handler.dependencies()]
    known = {name for name, _ in (*functions, *dependencies)}
    core = [
        (member.command, short(member.function.description))
        for member in CORE.types.members(reference("Query"))
        if member.command in PROMOTED and member.command not in known
    ]
    commands = [(c.name, short(c.about)) for c in COMMANDS if not c.hidden]
    constructor = constructor_of(target.types) if target.loaded is not None else None
    if constructor is not None and constructor.function.args:
        path = documentation.function_usage(constructor, ".")
        functions = [(path, short(constructor.function.description)), *functions]
    groups = [documentation.rows(group) for group in (functions, dependencies, core, commands)]
    hint = 'Use ".help <command> | <function>" for more information.'
    return documentation.sections([*(("", group) for group in groups), ("", hint)])


def _about(handler: Handler, dependency: LoadedDependency) -> str:
    """What a module is for, as far as it is known without running it."""
    defined = dependency.module.definition(handler.evaluator.session.store)
    if defined is None:
        return "-"
    main = dependency.module.types(defined).main_object()
    constructor = main.constructor.description if main.constructor else ""
    return short(defined.description or constructor or main.description)


async def _types(invocation: Invocation) -> None:
    target = invocation.handler.place.target
    await _print(invocation, documentation.types_document(target.types))


async def _printenv(invocation: Invocation) -> None:
    variables = invocation.scope.variables
    if not invocation.arguments:
        lines = "".join(f"{name}={value}\n" for name, value in variables.items())
        await invocation.streams.stdout.write(lines)
        return
    name = invocation.arguments[0]
    if name not in variables:
        message = f'environment variable "{name}" not set'
        raise LayerlineError(message)
    await _print(invocation, variables[name])


async def _wait(invocation: Invocation) -> None:
    interpreter = invocation.handler.interpreter
    for argv in [["wait", name] for name in invocation.arguments] or [["wait"]]:
        status = await run_utility(interpreter, argv, invocation.scope, invocation.streams)
        if status.error is not None:
            raise status.error
        if status.code:
            raise ExitStatus(status.code)


class ExitStatus(LayerlineError):
    """A status that nothing else explains."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit status {code}")
        self.exit_code = code


async def _cd(invocation: Invocation) -> None:
    handler = invocation.handler
    path = invocation.arguments[0] if invocation.arguments else ""
    before = handler.place
    if path in ("", "-"):
        handler.place = handler.previous if path else handler.first
    else:
        handler.place = await _place(handler, path)
    handler.previous = before


async def _place(handler: Handler, path: str) -> Place:
    """The place at a path, or at the module of a git reference."""
    place = handler.place
    if place.origin is not None:
        return place.move(place.within(path))
    target = await handler.module(path)
    directory = place.host_path(place.within(path))
    if directory.exists() and not directory.is_dir():
        message = f'change workdir: "{directory}" is not a directory'
        raise LayerlineError(message)
    if target is None or target is place.target:
        return place.move(place.within(path))
    at = directory if directory.is_dir() else handler.evaluator.console.workdir
    return place_of(target, at=at, with_module=True)


async def _pwd(invocation: Invocation) -> None:
    place = invocation.handler.place
    await _print(invocation, place.shown(place.path))


async def _ls(invocation: Invocation) -> None:
    handler = invocation.handler
    place = handler.place
    inside = place.within(invocation.arguments[0] if invocation.arguments else ".")
    if place.origin is None:
        entries = _entries(place.host_path(inside))
    else:
        git = f"git(url: {literal(place.origin.repository)})"
        chosen = f"tree {{ directory(path: {literal(inside)}) {{ entries }} }}"
        query = f"{{ {git} {{ ref(name: {literal(place.origin.commit)}) {{ {chosen} }} }} }}"
        found = await ask(handler.evaluator.session, query)
        entries = found["git"]["ref"]["tree"]["directory"]["entries"]
    await _print(invocation, "\n".join(entries))


def _entries(directory: Path) -> list[str]:
    try:
        found = sorted(directory.iterdir())
    except OSError as exc:
        message = f"lstat {directory}: {(exc.strerror or '').lower()}"
        raise LayerlineError(message) from exc
    return [f"{path.name}/" if path.is_dir() else path.name for path in found]


async def _refresh(invocation: Invocation) -> None:
    handler = invocation.handler
    handler.modules.known.clear()
    place = handler.place
    if place.target.loaded is not None and place.origin is None:
        root = place.target.loaded.config.root
        target = await handler.modules.load(str(root), root)
        at = place.host_path(place.path)
        handler.place = place_of(target, at=at, with_module=True).move(place.path)


async def _rerun(invocation: Invocation) -> None:
    """Run a command of the command line in a process of its own."""
    console = invocation.handler.evaluator.console
    name = invocation.name.removeprefix(".")
    argv = [sys.executable, "-c", _PROGRAM, name, *invocation.arguments]
    session = invocation.handler.evaluator.session
    done = await session.solver.in_thread(
        lambda: programs.run(argv, env=console.settings.environ, cwd=console.workdir, expect=None)
    )
    await invocation.streams.stdout.write(done.stdout.decode(errors="replace"))
    await invocation.streams.stderr.write(done.stderr.decode(errors="replace"))
    if done.status:
        raise ExitStatus(done.status)
    await _refresh(invocation)


async def _no_language_model(invocation: Invocation) -> None:
    what = f"{invocation.name} (language models)"
    raise NotSupported(what)


async def _utility(invocation: Invocation) -> None:
    """Run a utility of the shell that has documentation here."""
    argv = [invocation.name.removeprefix("."), *invocation.arguments]
    await run_utility(invocation.handler.interpreter, argv, invocation.scope, invocation.streams)


_CD = """Change the current working directory

Absolute and relative paths are those of the context directory: the git repository of the module.
In a directory of another module, its functions become commands.

Without an argument, return to where the shell began; with -, to the directory before.
"""
_WAIT = """Wait for background processes to complete

Without an id, always return 0; otherwise the status of the first command that failed.
"""
COMMANDS = (
    DotCommand(use=".cd [path | url]", about=_CD, run=_cd, most=1, hidden=True),
    *(
        DotCommand(use=use, about="Language models", run=_no_language_model, hidden=True)
        for use in (".clear", ".compact", ".history", ".model [model]", ".prompt", ".shell")
    ),
    DotCommand(
        use=".echo [-n] [string ...]",
        about="Write arguments to the standard output\n\nWith -n, without a newline after them.",
        run=_utility,
        piped=True,
    ),
    DotCommand(
        use=".exit [code]",
        about="Exit the shell with an optional status code\n\n"
        "Without one, with the status of the last command.",
        run=_utility,
        piped=True,
    ),
    DotCommand(
        use=".help [command | function | module | type]\n<function> | .help [function]",
        about="Show documentation for a command, function, module, or type",
        run=_help,
        most=1,
        piped=True,
    ),
    *(
        DotCommand(use=f".{name}", about=f"Run the command {name}", run=_rerun, hidden=True)
        for name in ("install", "login", "logout", "uninstall", "update")
    ),
    DotCommand(
        use=".ls [path]",
        about="List files in the current working directory",
        run=_ls,
        most=1,
        hidden=True,
    ),
    DotCommand(
        use=".printenv [name]",
        about="Show available environment variables or a specific variable",
        run=_printenv,
        most=1,
    ),
    DotCommand(
        use=".pwd",
        about="Print the current working directory's absolute path",
        run=_pwd,
        most=0,
        hidden=True,
    ),
    DotCommand(
        use=".refresh",
        about="Refresh the schema and reload all module functions",
        run=_refresh,
        most=0,
    ),
    DotCommand(
        use=".types",
        about="List all types available in the current context",
        run=_types,
        most=0,
    ),
    DotCommand(use=".wait [id...]", about=_WAIT, run=_wait),
)
