"""A session in a process of its own, for a program that is not root.

A process with threads cannot enter a user namespace, and the one of `connect` may have some.
It writes one line of JSON: the session's variables, or the error. It ends with its standard input,
which ends with the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command, errors, host
from layerline.errors import LayerlineError
from layerline.settings import process_environ, python

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from layerline.engine.session_process import main; main()"
)
_SOURCES = Path(__file__).parents[2]


@contextmanager
def session_process(workdir: Path) -> Iterator[dict[str, str]]:
    """Serve a session in a child; gives the variables that lead an SDK to it.

    Raises what opening the session raised there. At the end of the block the session has ended.
    """
    process = command.start(
        [python(), "-c", _START, _SOURCES, workdir],
        env=process_environ(),
        stdin=command.PIPE,
        stdout=command.PIPE,
        new_session=True,  # a terminal's Ctrl-C is for the caller
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout, process:
        with process.stdin:
            line = process.stdout.readline()
            if not line:
                message = "the session's process ended before it served: see its message above"
                raise errors.HostError(message)
            answer = json.loads(line)
            if "error" in answer:
                raise _error(answer["error"], answer["message"])
            yield answer
        process.wait()


def main() -> None:
    """Be that child: `argv` has the working directory."""
    try:
        host.enter_namespaces(after=_remove_leftovers)
        _serve(Path(sys.argv[1]))
    except LayerlineError as exc:
        _say({"error": type(exc).__name__, "message": str(exc)})
        sys.exit(exc.exit_code)


def _remove_leftovers() -> None:
    from layerline.engine.runtime.cgroups import sweep_dead_sessions

    sweep_dead_sessions()


def _serve(workdir: Path) -> None:
    import anyio

    from layerline.engine.api.server import serve_session
    from layerline.engine.api.session import open_session
    from layerline.log import Journal
    from layerline.settings import Settings

    async def serve() -> None:
        settings = Settings.from_environ(process_environ())
        opening = open_session(settings, Journal(), workdir=workdir)
        async with opening as session, serve_session(session):
            _say(session.environ(session.main))
            await anyio.to_thread.run_sync(_wait_for_end_of_input)

    anyio.run(serve)


def _say(document: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _wait_for_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass


def _error(name: str, message: str) -> LayerlineError:
    kind = getattr(errors, name, LayerlineError)
    return kind(message) if issubclass(kind, LayerlineError) else LayerlineError(message)
