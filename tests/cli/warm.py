"""The command line in processes that need not import it: each is forked from one that has.

A fresh interpreter needs a second for its imports, which a hundred calls would add up.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layerline import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_LONGEST = 1 << 20
_IMPORTED = (
    "layerline.cli.chain.engine_session",
    "layerline.cli.commands.call",
    "layerline.cli.commands.check",
    "layerline.cli.commands.functions",
    "layerline.cli.commands.query",
    "layerline.engine.api.image_export",
)


class WarmProgram:
    """What has imported the command line, and forks for each call."""

    def __init__(self, near: socket.socket) -> None:
        self._near = near

    def call(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: bytes | None
    ) -> command.Finished:
        """Run one command line to its end."""
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(stdin or b"")
            given.seek(0)
            asked = json.dumps({"argv": list(argv), "env": dict(env), "cwd": str(cwd)})
            files = [given.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(self._near, [asked.encode()], files)
            status = int(self._near.recv(_LONGEST))
            out.seek(0)
            err.seek(0)
            return command.Finished(status=status, stdout=out.read(), stderr=err.read())


@contextmanager
def warm_program(environ: Mapping[str, str]) -> Iterator[WarmProgram]:
    """Start a program and end it with the block."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        process = command.start(
            [sys.executable, "-m", "tests.cli.warm", str(far.fileno())],
            env=environ,
            pass_fds=(far.fileno(),),
        )
        far.close()
        try:
            yield WarmProgram(near)
        finally:
            near.close()
            process.wait()


def serve(far: socket.socket) -> None:
    """Fork for each request until nobody can send one."""
    from importlib import import_module

    for name in _IMPORTED:
        import_module(name)
    while True:
        asked, files, _, _ = socket.recv_fds(far, _LONGEST, 3)
        if not asked:
            return
        child = os.fork()
        if child == 0:
            far.close()
            _run(json.loads(asked), files)
        for file in files:
            os.close(file)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        far.send(str(status).encode())


def _run(asked: dict[str, object], files: Sequence[int]) -> None:
    """Become the command line of a request; does not return."""
    from layerline.cli.main import run_command_line

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["env"])  # type: ignore[call-overload]
    os.chdir(str(asked["cwd"]))
    status = 1
    try:
        status = run_command_line(asked["argv"])  # type: ignore[arg-type]
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
