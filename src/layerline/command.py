"""The one door to other programs: argument lists, never a shell; an environment that is built."""

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
    """The absolute path of a program; says which Debian package brings it when it is missing."""
    found = find(program)
    if found is None:
        message = (
            f"{program} is not installed. Install it with: apt-get install {package or program}"
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
    words = tuple(str(word) for word in argv)
    log.debug("+ %s", shlex.join(words))
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": DEFAULT_PATH, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as exc:
        message = f"{words[0]} is not installed, or not on {DEFAULT_PATH}"
        raise ProgramMissing(message) from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(words, -1, f"no end within {timeout} s") from exc
    if expect is not None and done.returncode not in expect:
        raise CommandFailed(words, done.returncode, done.stderr.decode(errors="replace"))
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
    words = [str(word) for word in argv]
    log.debug("+ %s &", shlex.join(words))
    try:
        return subprocess.Popen(
            words,
            env={"PATH": DEFAULT_PATH, **(env or {})},
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=new_session,
        )
    except FileNotFoundError as exc:
        message = f"{words[0]} is not installed, or not on {DEFAULT_PATH}"
        raise ProgramMissing(message) from exc
