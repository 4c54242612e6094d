"""Paths of the caller's machine, as a client may write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call


def host_path(call: Call, path: str) -> Path:
    """The absolute path.

    Relative ones are under the session's working directory, `~` is the caller's home.
    """
    if call.client.function is not None:
        message = f"a module cannot reach {path} on the host; let the caller pass it as an argument"
        raise QueryError(message)
    session = call.session
    if path == "~" or path.startswith("~/"):
        path = str(session.settings.home) + path[1:]
    return Path(os.path.normpath(session.workdir / path.removeprefix("file://")))
