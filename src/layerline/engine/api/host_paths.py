"""Paths of the caller's machine, as a client may write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.errors import QueryError
from layerline.user_directories import expand_home

if TYPE_CHECKING:
    from layerline.engine.api.session import Call


def host_path(call: Call, path: str) -> Path:
    """The absolute path: relative ones resolve against the session's working directory.

    A leading `~` is the caller's home. Raises QueryError for all but the main client.
    """
    require_host(call, path)
    session = call.session
    path = expand_home(path.removeprefix("file://"), session.settings.home)
    return Path(os.path.normpath(session.workdir / path))


def require_host(call: Call, what: str) -> None:
    """Raise QueryError unless the main client asks: modules and nested execs have no host."""
    if not call.client.reaches_host:
        message = f"only the main client can reach {what} on the host: pass it as an argument"
        raise QueryError(message)
