"""`session`, `run` and `query`: a session for other programs, or for one query."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from layerline.cli.display.help import Page
from layerline.cli.flags import Flag, FlagSet, parse_bool
from layerline.errors import Cancelled, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session

_KILLED = 128
_CHUNK = 1 << 16


def session(console: Console, words: Sequence[str]) -> int:
    """Serve a session until stdin ends: one JSON line tells the port and the token."""
    flags = _flags(console)
    for name in ("label", "version", "project", "workspace"):
        _text(flags, name, short="W" if name == "workspace" else "")
    for name in ("load-workspace-modules", "skip-workspace-modules"):
        flags.add(Flag(name=name, kind="bool", parse=parse_bool, bare="true", hidden=True))
    path = f"{console.program} session"
    if _asked_for_help(console, flags, words, path, "Serve a session until standard input ends"):
        return 0
    console.enter()

    async def work(served: Session) -> int:
        line = {"port": served.port, "session_token": served.main.token}
        console.print(json.dumps(line) + "\n")
        await _end_of_input()
        return 0

    try:
        return _serve(console, work)
    except Cancelled:
        return 0


def run(console: Console, words: Sequence[str]) -> int:
    """Run a program with a session in its environment; its exit code is ours."""
    path = f"{console.program} run"
    flags = _flags(console)
    _text(flags, "cleanup-timeout")
    command = flags.parse(words)
    if console.options.help and (not command or "--help" in words[: len(words) - len(command)]):
        page = Page(
            about="Run a program in a session, which it finds in its environment",
            path=path,
            use="[options] [--] <command>...",
            inherited=console.flags,
        )
        console.print(page.text())
        return 0
    if not command:
        message = "run needs a command, e.g. -- python build.py"
        raise UsageError(message, usage=path)
    console.enter()
    from layerline import command as programs

    environ = console.settings.environ
    found = programs.find(command[0], path=environ.get("PATH") or programs.DEFAULT_PATH)

    async def work(served: Session) -> int:
        if found is None and "/" not in command[0]:
            message = f"{command[0]} is not on the PATH"
            raise UsageError(message, usage=path)
        own = {
            "DAGGER_SESSION_PORT": str(served.port),
            "DAGGER_SESSION_TOKEN": served.main.token,
        }
        process = programs.start(
            [found or command[0], *command[1:]],
            env={**environ, **own},
            cwd=console.workdir,
            stdin=sys.stdin.fileno(),
        )
        import anyio

        try:
            return int(await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    status = _serve(console, work)
    return status if status >= 0 else _KILLED - status


def query(console: Console, words: Sequence[str]) -> int:
    """Answer one GraphQL query from --doc or standard input."""
    path = f"{console.program} query"
    flags = _flags(console)
    doc = _text(flags, "doc", usage="Read query from file (defaults to reading from stdin)")
    pairs = _text(flags, "var", usage="List of query variables, in key=value format")
    pairs.repeated, pairs.parse, pairs.kind = True, lambda text: [text], "strings"
    whole = _text(flags, "var-json", usage="Query variables in JSON format (overrides --var)")
    if _asked_for_help(console, flags, words, path, "Send API queries to the engine"):
        return 0
    text = (console.workdir / doc.value).read_text() if doc.value else sys.stdin.read()
    variables = _variables(pairs.value or [], whole.value, path)
    console.enter()
    from layerline.engine.api.execute import answer

    async def work(served: Session) -> dict[str, Any]:
        got = await answer(text, served.call(), variables=variables)
        if got.failure is not None:
            raise got.failure
        data: dict[str, Any] = got.body["data"]
        return data

    from layerline.cli.chain.engine_session import in_session

    with console.working() as journal:
        data = in_session(console.settings, journal, workdir=console.workdir, work=work)
    console.print(json.dumps(data, ensure_ascii=False, indent=4) + "\n")
    return 0


def _variables(pairs: list[str], whole: str | None, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            message = f"--var {pair}: write NAME=VALUE"
            raise UsageError(message, usage=path)
        found[name] = value
    if whole:
        try:
            found = dict(json.loads(whole))
        except (ValueError, TypeError) as exc:
            message = f"--var-json holds no JSON object: {exc}"
            raise UsageError(message, usage=path) from exc
    return found


def _serve(console: Console, work: Callable[[Session], Awaitable[int]]) -> int:
    from layerline.cli.chain.engine_session import in_session

    with console.working() as journal:
        return int(
            in_session(
                console.settings,
                journal,
                workdir=console.workdir,
                work=work,
                interactive=console.interactive,
            )
        )


async def _end_of_input() -> None:
    import anyio.lowlevel

    stdin = sys.stdin.fileno()
    while True:
        with suppress(PermissionError):  # a file is always readable, and cannot be waited for
            await anyio.wait_readable(stdin)
        await anyio.lowlevel.checkpoint()
        if not os.read(stdin, _CHUNK):
            return


def _flags(console: Console) -> FlagSet:
    return FlagSet((console.flags,))


def _text(flags: FlagSet, name: str, *, short: str = "", usage: str = "") -> Flag:
    return flags.add(
        Flag(name=name, short=short, kind="string", parse=str, usage=usage, hidden=not usage)
    )


def _asked_for_help(
    console: Console, flags: FlagSet, words: Sequence[str], path: str, about: str
) -> bool:
    """Read the flags of a command that takes nothing else; print its help if that is wanted."""
    try:
        rest = flags.parse(words)
    except UsageError as exc:
        raise UsageError(str(exc), usage=path) from exc
    if rest:
        message = f'unknown command "{rest[0]}" for "{path}"'
        raise UsageError(message, usage=path)
    if console.options.help:
        page = Page(
            about=about, path=path, use="[options]", local=flags, inherited=flags.parents[0]
        )
        console.print(page.text())
    return console.options.help
