"""`session`: a session for another program, which ends with standard input."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from layerline.cli.commands.flag_parsing import add_text_flag, parse_flags, print_help
from layerline.cli.flags import Flag, FlagSet, parse_bool
from layerline.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session

_ABOUT = "Serve a session until standard input ends"
_CHUNK = 1 << 16


def session(console: Console, argv: Sequence[str]) -> int:
    """Print the port and the token as one JSON line, then serve until stdin ends."""
    path = f"{console.program} session"
    flags = _flags(console)
    parse_flags(flags, argv, path)
    if console.options.help:
        print_help(console, about=_ABOUT, path=path)
        return 0
    console.enter()
    from layerline.cli.chain.engine_session import run_in_session
    from layerline.cli.commands.client_version import serve_client_version

    given, labels = flags.flags["version"].value or "", flags.flags["label"].value or ()

    async def work(served: Session) -> int:
        served.keeps_ids = True
        serve_client_version(console, served, given=given, labels=labels)
        line = {"port": served.port, "session_token": served.main.token}
        console.print(json.dumps(line) + "\n")
        await _wait_for_end_of_input()
        return 0

    try:
        return run_in_session(console, work, interactive=True)
    except Cancelled:
        return 0


def _flags(console: Console) -> FlagSet:
    """The flags that SDKs give; most have no meaning here."""
    flags = FlagSet((console.flags,))
    labels = Flag(name="label", kind="stringArray", parse=lambda text: [text], repeated=True)
    labels.hidden = True
    flags.add(labels)
    for name in ("version", "project", "workspace"):
        add_text_flag(flags, name, short="W" if name == "workspace" else "")
    for name in ("load-workspace-modules", "skip-workspace-modules"):
        flags.add(Flag(name=name, kind="bool", parse=parse_bool, bare="true", hidden=True))
    return flags


async def _wait_for_end_of_input() -> None:
    import anyio.lowlevel

    stdin = sys.stdin.fileno()
    while True:
        with suppress(PermissionError):  # a file is always readable, and cannot be waited for
            await anyio.wait_readable(stdin)
        await anyio.lowlevel.checkpoint()
        if not os.read(stdin, _CHUNK):
            return
