"""What a step is called in progress and errors: the API's field and its telling argument."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from layerline.engine.solve import ops

if TYPE_CHECKING:
    from layerline.engine.solve.codec import Keyed

_LONGEST = 200


def describe(op: Keyed) -> str:
    """One short line for people."""
    text = " ".join(_line(op).split())  # a script has several
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _line(op: Keyed) -> str:
    match op:
        case ops.Exec():
            return f"withExec {shlex.join(op.args)}"
        case ops.NewFile():
            return f"withNewFile {op.path}"
        case ops.NewDirectory():
            return f"withNewDirectory {op.path}"
        case ops.CopyDirectory():
            return f"withDirectory {op.path}"
        case ops.CopyFile():
            return f"withFile {op.path}"
        case ops.Remove():
            return f"without {' '.join(op.paths)}"
        case ops.Patched():
            return f"withPatch {op.path}"
        case _:
            return type(op).__name__
