"""Lookup of a program inside a container, and the error when it cannot be started.

The init process would report a missing program with a message of its own and status 127; the Dagger
engine gives status 1 and the message of Go's os/exec.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from layerline.engine.runtime.confined_root import join

if TYPE_CHECKING:
    from layerline.engine.runtime.confined_root import ConfinedRoot

_EXECUTABLE = 0o111
_MOUNTED_BY_RUNTIME = ("/proc", "/dev", "/sys")


def launch_error(program: str, inside: ConfinedRoot, *, path: str, cwd: str) -> str | None:
    """Why the program cannot be started; None when it can be found."""
    if "/" in program:
        target = join(cwd, program)
        reason = None if target.startswith(_MOUNTED_BY_RUNTIME) else _problem(target, inside)
        return f'exec: "{program}": {reason}' if reason else None
    for directory in path.split(":"):
        if _problem(join(cwd, f"{directory or '.'}/{program}"), inside) is None:
            return None
    return f'exec: "{program}": executable file not found in $PATH'


def _problem(path: str, inside: ConfinedRoot) -> str | None:
    try:
        with inside.open_path(path, os.O_PATH) as descriptor:
            mode = os.fstat(descriptor).st_mode
    except FileNotFoundError:
        return f"stat {path}: no such file or directory"
    except OSError as exc:
        return os.strerror(exc.errno or errno.EACCES).lower()
    if stat.S_ISDIR(mode):
        return "is a directory"
    return None if mode & _EXECUTABLE else "permission denied"
