"""A confined process as the engine looks into it: its files, its variables, more programs.

It is what a client of the session has as its host when it runs in a container.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.runtime.confined_root import ConfinedRoot, join
from layerline.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from layerline.command import Finished


@dataclass(slots=True, kw_only=True)
class ConfinedProcess:
    """A process that may not have started yet.

    `number` gives its process number, None while it does not run; `execute` runs a program as it
    would, to its end, or gives None when that takes too long. `cwd` is what its relative paths
    start from.
    """

    environ: Mapping[str, str] = field(repr=False)
    cwd: str
    number: Callable[[], int | None] = lambda: None
    execute: Callable[[Sequence[str]], Finished | None] | None = None

    @contextmanager
    def root(self) -> Iterator[ConfinedRoot]:
        """Its root directory, which no path leaves. Raises HostError when it does not run."""
        number = self.number()
        if number is None:
            message = "the container of this client does not run any more"
            raise HostError(message)
        with ConfinedRoot(Path(f"/proc/{number}/root")) as root:
            yield root

    def absolute(self, path: str) -> str:
        """A path of it without ".": relative ones are below its working directory."""
        return join(self.cwd, path)
