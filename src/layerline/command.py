"""Starting other programs: argument lists, never a shell; an explicit environment."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from layerline import log
from layerline.errors import CommandFailed, ProgramMissing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
Process = subprocess.Popen


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its exit status and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


def find(program: str, *, path: str = DEFAULT_PATH) -> Path | None:
    """The absolute path of a program on the search path that it would be started with."""
    found = shutil.which(program, path=path)
    return Path(found) if found else None


def require(program: str, *, package: str | None = None) -> Path:
    """The absolute path of a program; the error names the Debian package to install."""
    found = find(program)
    if found is None:
        message = (
            f"{program} is not installed: install it with: apt-get install {package or program}"
        )
        raise ProgramMissing(message)
    return found


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    expect: Sequence[int] | None = (0,),
) -> Finished:
    """Run a program to its end and return what it wrote.

    `timeout` is in seconds. A status outside `expect` raises CommandFailed; `expect=None` takes
    any.
    """
    command_line = tuple(str(arg) for arg in argv)
    log.debug("+ %s", shlex.join(command_line))
    try:
        done = subprocess.run(
            command_line,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": DEFAULT_PATH, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as exc:
        message = f"{command_line[0]} is not installed, or not on {DEFAULT_PATH}"
        raise ProgramMissing(message) from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(command_line, -1, f"timed out after {timeout} s") from exc
    if expect is not None and done.returncode not in expect:
        raise CommandFailed(command_line, done.returncode, done.stderr.decode(errors="replace"))
    return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


def start(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] | None = DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program and return it running; the caller owns its end."""
    command_line = [str(arg) for arg in argv]
    log.debug("+ %s &", shlex.join(command_line))
    try:
        return subprocess.Popen(
            command_line,
            env={"PATH": DEFAULT_PATH, **(env or {})},
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=new_session,
        )
    except FileNotFoundError as exc:
        message = f"{command_line[0]} is not installed, or not on {DEFAULT_PATH}"
        raise ProgramMissing(message) from exc
