"""A machine: a store of its own, a copy of the repository, and what its calls cost."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.docker.repository import CHECKOUT
from benchmarks.measure import processor_seconds
from layerline import command
from layerline.settings import process_environ

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.cache.registry import Registry
    from benchmarks.docker.repository import Repository

# Of `--progress=plain`: time, number, name, how it ended and how long it took.
_STEP = re.compile(r"^\S+ \d+\s*: (withExec .*) (DONE|ERROR) \[[^\]]*s\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a call took.

    Seconds of the clock and of processors, containers, and bytes to and from the registry.
    """

    seconds: float
    processor: float
    containers: int
    up: int
    down: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Layerline of this checkout with a store; `mode` is that of the cache, empty for none.

    `cache` is the name of its repository in the registry.
    """

    name: str
    home: Path
    repository: Repository
    registry: Registry
    mirror: str
    mode: str
    cache: str

    @classmethod
    def new(
        cls,
        name: str,
        place: Path,
        repository: Repository,
        registry: Registry,
        *,
        mirror: str,
        mode: str,
        cache: str,
    ) -> Machine:
        """A machine with an empty store, whose module's environment is made."""
        home = place / name
        home.mkdir()
        copy = repository.copy(home / "repository")
        made = cls(
            name=name,
            home=home,
            repository=copy,
            registry=registry,
            mirror=mirror,
            mode=mode,
            cache=cache,
        )
        made.call("plan", "--ci=json")
        return made

    def call(self, *words: str) -> Cost:
        """Call a function; a failure ends the measurement."""
        argv = [sys.executable, "-m", "layerline", "call", "-v", "--progress=plain", *words]
        line = self.registry.line
        up, down = line.up, line.down
        began, before = time.monotonic(), processor_seconds()
        done = command.run(argv, env=self._environ, cwd=self.repository.place, expect=None)
        seconds = time.monotonic() - began
        said = done.stderr.decode()
        with (self.home / "log").open("a") as log:
            log.write(said)
        if done.status:
            message = f"layerline call {' '.join(words)} failed on {self.name}:\n{said[-4000:]}"
            raise SystemExit(message)
        return Cost(
            seconds=seconds,
            processor=processor_seconds() - before,
            containers=len(_STEP.findall(said)),
            up=line.up - up,
            down=line.down - down,
        )

    @property
    def _environ(self) -> dict[str, str]:
        own = {
            "LAYERLINE_STORE": str(self.home / "store"),
            "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{self.mirror}",
            "PYTHONPATH": str(CHECKOUT / "src"),
            **self.registry.environ,
        }
        if self.mode:
            own |= {
                "LAYERLINE_CACHE": f"{self.registry.address}/{self.cache}",
                "LAYERLINE_CACHE_MODE": self.mode,
            }
        return {**process_environ(), **own}
