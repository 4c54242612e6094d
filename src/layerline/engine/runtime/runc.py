"""The OCI runtime program: how it is found and started, and which failures are its own.

Invariant: unless it serves a terminal it is started in a session of its own, so Ctrl-C reaches the
engine, which kills the container and cleans up.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.runtime.stdio import kill_process
from layerline.engine.store.rmtree import discard_tree
from layerline.errors import ProgramMissing, RuntimeMissing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.engine.runtime.cgroups import Cgroups
    from layerline.settings import Settings

_INITS = ("tini-static", "docker-init", "catatonit")


def find_runtime(settings: Settings) -> Path:
    """The runtime program that the settings name, or runc."""
    name = settings.runtime or "runc"
    found = command.find(name)
    if found is None:
        hint = (
            "correct or unset LAYERLINE_RUNTIME"
            if settings.runtime
            else "install it with: apt-get install runc"
        )
        message = f"OCI runtime {name!r} not found: {hint}"
        raise RuntimeMissing(message)
    return found


def find_init() -> Path:
    """A static program that reaps and forwards signals as process 1 of a container."""
    for name in _INITS:
        found = command.find(name)
        if found is not None:
            return found
    message = f"none of {', '.join(_INITS)} is installed: install one with: apt-get install tini"
    raise ProgramMissing(message)


def keeps_container(program: Path) -> bool:
    """Whether it can leave the cgroup of a container whose program has ended, to be read."""
    return b"--keep" in command.run([program, "run", "--help"], expect=None).stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of the runtime, by its name and the directory that holds its configuration.

    `keeps` is whether the runtime leaves what it made for the container; then `remove` ends that.
    """

    program: Path
    state: Path
    bundle: Path
    name: str
    cgroups: Cgroups
    keeps: bool = True

    def arguments(self, verb: str, *options: str | Path) -> list[str | Path]:
        """The command line of the runtime for a verb on this container."""
        log = self.bundle / "log"
        argv = ["--root", self.state, "--log", log, "--log-format", "json", verb, *options]
        # Only so does runc go on where it may not make cgroups.
        mode = ["--rootless", "true"] if self.cgroups.path(self.name) is None else []
        return [self.program, *mode, *argv, self.name]

    def start(
        self, *, stdin: int | None, stdout: int, stderr: int, foreground: bool = False
    ) -> command.Process[bytes]:
        """Run in the foreground of the runtime; its status becomes the program's."""
        pid_file = self.bundle / "pid"
        keep = ["--keep"] if self.keeps else []
        argv = self.arguments("run", *keep, "--bundle", self.bundle, "--pid-file", pid_file)
        return command.start(
            argv,
            stdin=command.DEVNULL if stdin is None else stdin,
            stdout=stdout,
            stderr=stderr,
            new_session=not foreground,
        )

    def signal(self, number: int) -> None:
        """Send a signal to its process 1, if it has one."""
        process = self.process()
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def join(self, argv: Sequence[str], terminal: int) -> command.Process[bytes]:
        """Start another program in it, on a terminal that is open here."""
        exec_argv = [*self.arguments("exec", "--tty"), *argv]
        return command.start(exec_argv, stdin=terminal, stdout=terminal, stderr=terminal)

    def process(self) -> int | None:
        """The number of the container's process 1, once it has one."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.bundle / "pid").read_text())
        return None

    def kill(self, runtime: command.Process[bytes], *, harder: bool) -> None:
        """End everything in it at once; call it until the runtime has ended."""
        self.signal(signal.SIGKILL)
        if harder:
            for each in self.cgroups.processes(self.name):
                kill_process(each)
            kill_process(runtime.pid)

    def remove(self) -> None:
        """Remove what the runtime keeps of it, once it has ended."""
        self.cgroups.remove(self.name)
        discard_tree(self.state / self.name)

    def failure(self) -> str | None:
        """What the runtime itself could not do; None when it started the program."""
        try:
            lines = (self.bundle / "log").read_text().splitlines()
        except FileNotFoundError:
            return None
        events = [json.loads(line) for line in lines if line.startswith("{")]
        errors = [str(event["msg"]) for event in events if event.get("level") == "error"]
        return errors[-1] if errors else None
