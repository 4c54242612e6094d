"""Servers that tests start, which never outlive the test run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from layerline import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def running(argv: Sequence[str | Path], *, log: Path) -> Iterator[command.Process[bytes]]:
    """Run a server for the block, with both outputs in `log`.

    The kernel ends it when this process is killed (PR_SET_PDEATHSIG in prctl(2)): an interrupted
    test run unwinds no `finally`.
    """
    with log.open("wb") as output:
        process = command.start(
            ["setpriv", "--pdeathsig", "TERM", "--", *argv], stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
