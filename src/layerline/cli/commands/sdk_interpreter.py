"""The Python with which `run` starts programs: one that has the SDK."""

from __future__ import annotations

import sys
from pathlib import Path

_NAMES = ("python", "python3")
_HAS_SDK = "import importlib.util, sys; sys.exit(importlib.util.find_spec('dagger') is None)"


def with_sdk(executable: str) -> str:
    """The interpreter, or the tool's own where a plain `python` cannot import the SDK.

    With uvx and pipx the tool has an environment of its own, which is not on the PATH.
    """
    from layerline import command

    if Path(executable).name not in _NAMES:
        return executable
    found = command.run([executable, "-c", _HAS_SDK], expect=None, timeout=30.0)
    return executable if found.status == 0 else sys.executable
