"""The command line as a user has it: a process, a module of small steps, a store of its own."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
# Where nobody listens: the tests neither find nor need a registry.
NO_REGISTRY = "docker.io=http://127.0.0.1:9"
LONGEST_SECONDS = 120.0
POLL_SECONDS = 0.02
CUDA_GIGABYTES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A copy of the sample module, and the environment in which commands are run there."""

    home: Path
    environ: Mapping[str, str]

    @property
    def store(self) -> Path:
        return Path(self.environ["LAYERLINE_STORE"])

    def call(
        self, *words: str, env: Mapping[str, str] | None = None, timeout: float = LONGEST_SECONDS
    ) -> Call:
        """Run a command to its end."""
        began = time.monotonic()
        done = command.run(
            self.argv(*words),
            env={**self.environ, **(env or {})},
            cwd=self.home,
            timeout=timeout,
            expect=None,
        )
        return Call(
            status=done.status,
            stdout=done.stdout.decode(),
            stderr=done.stderr.decode(),
            seconds=time.monotonic() - began,
        )

    def start(self, *words: str, log: Path) -> command.Process[bytes]:
        """Start a command; what it says goes into the log."""
        with log.open("wb") as sink:
            return command.start(
                self.argv(*words), env=self.environ, cwd=self.home, stdout=sink, stderr=sink
            )

    def argv(self, *words: str) -> list[str]:
        """The command, which shows the work in spans, too: `containers` counts it."""
        shown = ["-v"] if words[:1] == ("call",) else []
        return [sys.executable, "-m", "layerline", *words[:1], *shown, *words[1:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def error(self) -> list[str]:
        """The lines from `Error:` on."""
        lines = self.stderr.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
        return lines[starts[0] :] if starts else []

    def steps(self) -> dict[str, str]:
        """How each step ended, by its name."""
        found: dict[str, str] = {}
        for line in self.stderr.splitlines():
            words = line.split(maxsplit=3)
            if len(words) == 4 and words[3].endswith("s]"):
                name, status, _ = words[3].rsplit(maxsplit=2)
                found[name] = status
        return found

    def containers(self) -> list[str]:
        """The names of the steps that ran a container."""
        steps = self.steps()
        return [name for name in steps if name.startswith("withExec ") and steps[name] != "CACHED"]


def succeeded(call: Call) -> Call:
    """The call, which must have ended well."""
    assert call.status == 0, call.stderr
    return call


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of one program."""
    program = command.find("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    place = tmp_path_factory.mktemp("busybox")
    for name in ("bin", "etc", "tmp"):
        (place / name).mkdir(mode=0o755)
    shutil.copy(program, place / "bin/busybox")
    for applet in ("sh", "cat", "cut", "echo", "head", "ls", "mkdir", "sleep", "stty", "true"):
        (place / "bin" / applet).symlink_to("busybox")
    (place / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    return place


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One home and one store for all tests: the module's environment is made once."""
    home = tmp_path_factory.mktemp("home")
    own = {
        "HOME": str(home),
        "LAYERLINE_STORE": str(home / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": NO_REGISTRY,
        "PYTHONPATH": str(SOURCE),
    }
    return {**process_environ(), **own}


@pytest.fixture
def project(tmp_path: Path, busybox_root: Path, environ: dict[str, str]) -> Project:
    """The sample as a repository of its own, whose results no other test has."""
    return copied(tmp_path / "sample", busybox_root, environ, mark=str(tmp_path))


def copied(home: Path, root: Path, environ: Mapping[str, str], *, mark: str) -> Project:
    """A copy of the sample; copies with the same mark are the same to the engine."""
    shutil.copytree(HERE / "sample", home)
    shutil.copytree(root, home / "rootfs", symlinks=True)
    (home / "rootfs/etc/mark").write_text(mark)
    (home / "source").mkdir()
    (home / "source/train.py").write_text("print('training')\n")
    command.run(["git", "init", "--quiet", home])
    return Project(home=home, environ=environ)


def wait_until(happened: Callable[[], bool], *, seconds: float = LONGEST_SECONDS) -> None:
    """Return once it has happened."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(POLL_SECONDS)


def wait_for_words(words: str, log: Path, process: command.Process[bytes]) -> None:
    """Return once a running command has said the words."""

    def said() -> bool:
        ended = process.poll() is not None
        text = log.read_text()
        assert words in text or not ended, text
        return words in text

    wait_until(said)


def processes(word: str) -> list[str]:
    """The command lines of running processes that hold the word, this one's family left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if word in line and int(place.name) != os.getpid():
            found.append(line)
    return found


def peak_megabytes(process: command.Process[bytes]) -> float:
    """The most memory that the tool had resident until its end; what it starts is not counted."""
    most = 0.0
    while process.poll() is None:
        most = max(most, *map(_megabytes, _family(process.pid)))
        time.sleep(POLL_SECONDS)
    return most


def _family(parent: int) -> list[int]:
    found = [parent]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                children = [int(word) for word in task.read_text().split()]
                found += [child for child in children if _is_engine(child)]
            except OSError:  # it has ended meanwhile
                continue
    return found


def _is_engine(process: int) -> bool:
    return b"\0layerline\0call\0" in Path(f"/proc/{process}/cmdline").read_bytes()


def _megabytes(process: int) -> float:
    """How much of it is resident."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has ended meanwhile
        return 0.0
    words = status.partition("VmRSS:")[2].split()
    return int(words[0]) / 1024 if words else 0.0


@pytest.fixture
def cuda(tmp_path: Path, environ: dict[str, str]) -> Iterator[Project]:
    """The repository itself with a store of its own; all that it makes is gone afterwards."""
    free = shutil.disk_usage(tmp_path).free >> 30
    if free < CUDA_GIGABYTES:
        pytest.skip(f"{free} GB are free, the images with CUDA need {CUDA_GIGABYTES}")
    store = tmp_path / "store"
    yield Project(home=HERE.parents[1], environ={**environ, "LAYERLINE_STORE": str(store)})
    shutil.rmtree(store, ignore_errors=True)
    for archive in tmp_path.glob("*.tar"):
        archive.unlink()
