"""The `layerline` command: dispatch to subcommands, and the one place that shows errors.

Invariant: no traceback reaches the user; the exit code is the error's own, a failed exec's that of
its process.
"""

from __future__ import annotations

import atexit
import contextlib
import difflib
import gc
import io
import os
import shlex
import stat
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from layerline import settings
from layerline.cli.flags import Flag, FlagSet, parse_bool
from layerline.cli.options import Options, global_flags, reference_flags
from layerline.errors import Cancelled, ExecError, LayerlineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console

PROGRAM = "layerline"
_ABOUT = (
    "Builds, validates, tests and ships machine-learning container images from Python functions"
)
_COMMANDS = {
    "cache": ("cache", "cache", "Prune the results that are shared in a registry"),
    "call": ("call", "call", "Call one or more functions, interconnected into a pipeline"),
    "check": ("check", "check", "Run the checks of a module"),
    "completion": ("completion", "completion", "Generate the autocompletion script for a shell"),
    "config": ("develop", "config", "Print what a module's dagger.json says"),
    "core": ("call", "core", "Call a core function"),
    "develop": ("develop", "develop", "Generate the files that a module's developer needs"),
    "doctor": ("doctor", "doctor", "Diagnose and repair this machine"),
    "functions": ("functions", "functions", "List available functions"),
    "generate": ("check", "generate", "Run the generators of a module"),
    "init": ("init", "init", "Write a layerline.toml for this repository, or a new module"),
    "install": ("install", "install", "Add a dependency to a module"),
    "query": ("query", "query", "Send API queries to the engine"),
    "registry": ("registry", "registry", "Serve the images of the store, read-only"),
    "run": ("run", "run_program", "Run a program in a session"),
    "shell": ("shell", "shell", "Run scripts of Dagger shell, or an interactive shell"),
    "session": ("session", "session", "Serve a session until standard input ends"),
    "store": ("store", "store", "Inspect, verify and prune the store"),
    "toolchain": ("install", "toolchain", "Manage the toolchains of a module"),
    "uninstall": ("install", "uninstall", "Remove a dependency from a module"),
    "up": ("check", "up", "Start the services of a module"),
    "update": ("install", "update", "Update the dependencies of a module"),
    "verify": ("verify", "verify", "Verify an image in a registry by what was signed of it"),
    "version": ("version", "version", "Print the versions of Layerline and of its API"),
}
# Other names of commands, as Dagger has them.
_ALIASES = {"checks": "check", "use": "install"}
_NO_CLOUD = "the embedded engine has no account and no service that it sends anything to"
_REFUSED = {
    "client": "bindings are made for modules only: connect with an SDK's own client",
    "cloud": _NO_CLOUD,
    "engine": "the engine is part of this program and runs for one command only",
    "listen": "no session outlives its command: use 'session', or 'run' for a program in one",
    "login": _NO_CLOUD,
    "logout": _NO_CLOUD,
    "lsp": "this program has no language server",
    "mcp": "the embedded engine has no language models",
    "migrate": "modules are used as they are, without a workspace",
    "publish": _NO_CLOUD,
    "release": "releases of Dagger are not those of this program",
    "trace": "no traces are recorded: the full log of a call is in the store's logs directory",
    "watch": "modules are used without a workspace, so none can be watched",
    "workspace": "modules are named with -m and used without a workspace",
}
_UNEXPECTED = 1
_LONGEST_STEP = 200


def main() -> NoReturn:
    """Run the command line of this process."""
    # All memory goes at the end: looking for garbage in the API's schema first took 0.3 s.
    atexit.register(gc.freeze)
    sys.exit(run_command_line(sys.argv[1:]))


def run_command_line(argv: Sequence[str]) -> int:
    """Run a command line and return the exit code."""
    console: Console | None = None
    try:
        console = _console(argv)
        return _dispatch(console)
    except LayerlineError as exc:
        return _show(exc, console)
    except KeyboardInterrupt:
        return _show(Cancelled("Canceled."), console)
    except BrokenPipeError:
        return _UNEXPECTED
    except Exception as exc:  # noqa: BLE001  the one place that shows errors
        return _show_other(exc, console)


def _console(argv: Sequence[str]) -> Console:
    from layerline.cli.console import Console

    environ = settings.process_environ()
    own = argv[: argv.index("--")] if "--" in argv else argv
    return Console(
        program=PROGRAM,
        argv=list(argv),
        options=Options.scan(own),
        settings=settings.Settings.from_environ(environ),
    )


def _dispatch(console: Console) -> int:
    console.flags = global_flags(console.options)
    references = reference_flags(FlagSet())
    flags = _own_flags(FlagSet((console.flags, references)))
    rest = _parse(flags, console.argv)
    console.choose_cache()
    console.check_workdir()
    if flags.flags["version"].value:
        rest = ["version"]
    elif flags.flags["code"].value:
        rest = ["shell", f"--code={flags.flags['code'].value}", *rest]
    elif not console.options.help and _is_script(rest):
        rest = ["shell", *rest]
    if not rest:
        console.print(_help(console))
        return 0
    name, *arguments = rest
    # Which module to load may be said before the command as well as after it.
    given = [f"--{flag.name}={flag.value}" for flag in references.flags.values() if flag.changed]
    arguments = [*given, *arguments]
    if name == "help":
        console.print(_help(console))
        return 0
    if name == "__complete":
        return _complete(console, arguments)
    if name in _REFUSED:
        message = f'command "{name}" is not supported: {_REFUSED[name]}'
        raise UsageError(message, usage=PROGRAM)
    name = _ALIASES.get(name, name)
    if name not in _COMMANDS:
        raise _unknown(name)
    module, function, _ = _COMMANDS[name]
    command = getattr(import_module(f"layerline.cli.commands.{module}"), function)
    return int(command(console, arguments))


def _parse(flags: FlagSet, argv: Sequence[str]) -> list[str]:
    """Parse the flags before the command; a UsageError names `layerline` itself."""
    try:
        return flags.parse(argv)
    except UsageError as exc:
        raise UsageError(str(exc), usage=PROGRAM) from exc


def _complete(console: Console, argv: Sequence[str]) -> int:
    """Answer what the scripts of `completion` ask."""
    from layerline.cli.commands.completion import complete

    return complete(
        console, argv, {name: about for name, (*_, about) in _COMMANDS.items()}, _help_of
    )


def _help_of(argv: Sequence[str]) -> str:
    """The help of a command."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        run_command_line([*argv, "--help"])
    return printed.getvalue()


def _is_script(rest: Sequence[str]) -> bool:
    """Whether a command line without a command is for the shell: files, or standard input."""
    if rest:
        return rest[0] not in _COMMANDS and Path(rest[0]).is_file()
    return sys.stdin.isatty() or _has_input()


def _has_input() -> bool:
    """Whether something was redirected or piped into this process."""
    try:
        kind = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind)


def _unknown(name: str) -> UsageError:
    """The error of a word that is neither a command nor a file."""
    message = f'unknown command or file "{name}" for "{PROGRAM}"'
    similar = difflib.get_close_matches(name, _COMMANDS)
    if similar:
        message += "\n\nDid you mean this?\n" + "".join(f"\t{each}\n" for each in similar)
    return UsageError(message, usage=PROGRAM)


def _own_flags(flags: FlagSet) -> FlagSet:
    """Add the flags of `layerline` without a command."""
    usage = _COMMANDS["version"][-1]
    flags.add(Flag(name="version", kind="bool", parse=parse_bool, usage=usage, bare="true"))
    about = "Command to be executed by the shell"
    flags.add(Flag(name="code", short="c", kind="string", parse=str, usage=about))
    return flags


def _help(console: Console) -> str:
    from layerline.cli.display.help import Page

    page = Page(
        about=_ABOUT,
        path=PROGRAM,
        use="[options] [command]",
        commands={"Available Commands": [(name, text) for name, (_, _, text) in _COMMANDS.items()]},
        local=_own_flags(global_flags(console.options)),
    )
    return page.text()


def _show(exc: LayerlineError, console: Console | None) -> int:
    lines = [f"Error: {exc}" if not isinstance(exc, Cancelled) else str(exc)]
    if isinstance(exc, ExecError):
        for title, text in (("Stdout:", exc.stdout), ("Stderr:", exc.stderr)):
            lines += [title, text] if text else []
        lines.append(f"Failed step: {_step(exc)}")
    if isinstance(exc, UsageError):
        if exc.usage is not None:
            lines.append(f"Run '{exc.usage} --help' for usage.")
    elif console is not None and console.log is not None:
        lines.append(f"Full log: {console.log.path}")
    if console is not None:
        console.info("\n".join(lines))
    else:
        sys.stderr.write("\n".join(lines) + "\n")
    return exc.exit_code


def _step(exc: ExecError) -> str:
    text = " ".join(shlex.join(exc.command).split())
    return text if len(text) <= _LONGEST_STEP else f"{text[:_LONGEST_STEP]}…"


def _show_other(exc: Exception, console: Console | None) -> int:
    """Report what the disk refuses as an error of the host; anything else is a defect."""
    from layerline.engine import known_failure

    if console is None:
        return _show_defect(exc, console)
    known = known_failure(exc, "the command failed", console.settings.store)
    return _show_defect(exc, console) if known is None else _show(known, console)


def _show_defect(exc: Exception, console: Console | None) -> int:
    """Report a defect of Layerline: a sentence to the user, the traceback to the log."""
    innermost: BaseException = exc
    while isinstance(innermost, BaseExceptionGroup):
        innermost = innermost.exceptions[0]
    what = f"{type(innermost).__name__}: {innermost}"
    if console is None:
        sys.stderr.write(f"Error: unexpected failure ({what})\n")
        return _UNEXPECTED
    try:
        log = console.log or console.begin_log()
    except LayerlineError as error:
        console.info(f"Error: unexpected failure ({what}); it could not be logged: {error}")
        return _UNEXPECTED
    log.write(f"{time.time()} {''.join(traceback.format_exception(exc))}")
    console.info(f"Error: unexpected failure ({what}): please report it with the log {log.path}")
    return _UNEXPECTED
