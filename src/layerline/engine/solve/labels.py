"""What a step is called in progress and errors: the API's field and its main argument."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from layerline.engine.solve import ops

if TYPE_CHECKING:
    from layerline.engine.solve.keys import Keyed

_LONGEST = 200
# The field of the API, and the op's field that holds its main argument.
_NAMES: dict[type[Keyed], tuple[str, str]] = {
    ops.NewFile: ("withNewFile", "path"),
    ops.NewDirectory: ("withNewDirectory", "path"),
    ops.Symlink: ("withSymlink", "path"),
    ops.CopyDirectory: ("withDirectory", "path"),
    ops.CopyFile: ("withFile", "path"),
    ops.Chown: ("chown", "path"),
    ops.Timestamps: ("withTimestamps", "path"),
    ops.Replaced: ("withReplaced", "path"),
    ops.Diff: ("diff", "other_path"),
    ops.Changed: ("withChanges", "path"),
    ops.Patched: ("withPatch", "path"),
    ops.ChangesPatch: ("asPatch", "after_path"),
}


def describe(op: Keyed) -> str:
    """One short line for people."""
    text = " ".join(_line(op).split())  # a script has several
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _line(op: Keyed) -> str:
    match op:
        case ops.Exec():
            return f"withExec {shlex.join(op.argv)}"
        case ops.Remove():
            return f"without {' '.join(op.paths)}"
        case ops.DockerfileCopy():
            instruction = "ADD" if op.unpack else "COPY"
            return f"{instruction} {shlex.join((*op.patterns, op.destination))}"
        case _:
            name, argument = _NAMES.get(type(op), (type(op).__name__, ""))
            return f"{name} {getattr(op, argument)}" if argument else name
