"""A small real build in which one system call fails, and what must hold afterwards."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline import command
from layerline.engine.image.validate import validate
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

UNEXPECTED = re.compile(r"Traceback|defect|unexpected|Exception ignored|Errno")
# Those of src/layerline/errors.py and of a program whose own write failed; 137 is a SIGKILL.
DOCUMENTED = (0, 1, 2, 4, 5, 6, 7, 137)
FAULTS = (
    ("EIO", False),
    ("ENOSPC", False),
    ("KILL", False),
    ("EIO", True),
    ("ENOSPC", True),
)
SCRIPT = (
    "echo cached >> /cache/c; read x < /in/a; echo got $x > /r; "
    "while read x; do echo $x; done < /in/sub/b"
)
BUILD = (
    *("core", "--progress=plain", "container", "with-rootfs", "--directory=root"),
    *("with-directory", "--path=/in", "--source=in"),
    *("with-mounted-cache", "--path=/cache", "--cache=faults"),
    *("with-exec", f"--args=sh,-c,{SCRIPT}"),
)
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "directory": (*BUILD, "directory", "--path=/in", "export", "--path=out"),
    "image": (*BUILD, "export", "--path=image.tar"),
    "prune": ("store", "prune", "--keep-storage=0"),
    "check": ("store", "check", "--deep", "--repair"),
}
TARGETS = ("out*", "image*", ".out*", ".image*")
MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A command that has ended; `calls` where they were counted, `left` are its processes."""

    status: int
    stdout: str
    stderr: str
    calls: list[str]
    left: list[str]


class Injector:
    """The program inject.py, which runs one command at a time."""

    def __init__(self, environ: Mapping[str, str], workdir: Path) -> None:
        self._environ = environ
        self._process = command.start(
            [sys.executable, "-m", "tests.faults.inject"],
            env=environ,
            cwd=workdir,
            stdin=command.PIPE,
            stdout=command.PIPE,
        )

    def run(self, place: Path, *argv: str, fault: Mapping[str, Any] | None = None) -> Outcome:
        """Run Layerline in a directory, on the store that is in it."""
        own = {"LAYERLINE_STORE": str(place / "store"), "HOME": str(place)}
        order = {"argv": argv, "environ": {**self._environ, **own}, "workdir": str(place)}
        if fault is not None:
            order["fault"] = fault
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the program."""
        self._process.communicate()


def make_sources(place: Path) -> None:
    """A root with a shell, and a directory to import."""
    shell = shutil.which("dash")
    assert shell is not None
    libraries = command.run(["ldd", shell]).stdout.decode().split()
    for name in {shell, *(word for word in libraries if word.startswith("/"))}:
        target = place / "root" / name.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, target)
    (place / "root/bin").mkdir(exist_ok=True)
    shutil.copy(shell, place / "root/bin/sh")
    (place / "root/cache").mkdir()
    (place / "in/sub").mkdir(parents=True)
    (place / "in/a").write_text("one\n")
    (place / "in/sub/b").write_text("two\n" * 3)
    (place / "in/link").symlink_to("a")


@dataclass(slots=True)
class Trial:
    """A directory with a store, a command, and what was found to be wrong."""

    place: Path
    name: str
    injector: Injector
    problems: list[str] = field(default_factory=list)
    repaired: str = ""

    @property
    def store(self) -> Path:
        """The store of this trial."""
        return self.place / "store"

    def run(self, *words: str, fault: Mapping[str, Any] | None = None) -> Outcome:
        """Run Layerline; what it leaves is a problem."""
        done = self.injector.run(self.place, *words, fault=fault)
        if done.left:
            self._note(f"processes stay: {done.left}")
        return done

    def count(self) -> list[str]:
        """The calls of the command without a fault."""
        done = self.run(*COMMANDS[self.name], fault={})
        assert done.status == 0, done.stderr
        return done.calls

    def targets(self) -> dict[str, bytes | str]:
        """What stands at the targets of the exports."""
        paths = [path for name in TARGETS for path in self.place.glob(name)]
        paths += [inside for path in paths for inside in path.rglob("*")]
        return {str(path.relative_to(self.place)): _content(path) for path in paths}

    def attempt(self, fault: Mapping[str, Any], expected: Mapping[str, bytes | str]) -> str:
        """Run the command under a fault; return the call that failed first, "" if none did."""
        words = COMMANDS[self.name]
        done = self.run(*words, fault=fault)
        hits = [call for call in done.calls if call.endswith(" *")]
        if not hits:
            return ""
        self._judge_message("the faulted run", done)
        self._judge_targets(done, expected)
        again = self.run(*words)
        self._judge_message("the run after it", again)
        if again.status != 0:
            self._note(f"the run after it ended with {again.status}", again.stderr)
        elif self.targets() != expected:
            self._note("the run after it gave something else")
        self._judge_store()
        return hits[0]

    def _judge_message(self, what: str, done: Outcome) -> None:
        if done.status not in DOCUMENTED:
            self._note(f"{what} ended with {done.status}", done.stderr)
        if UNEXPECTED.search(done.stderr):
            self._note(f"{what} shows an unexpected error", done.stderr)
        if done.status not in (0, 137) and "Error" not in done.stderr:
            self._note(f"{what} ended with {done.status} and says nothing", done.stderr)

    def _judge_targets(self, done: Outcome, expected: Mapping[str, bytes | str]) -> None:
        found = self.targets()
        if done.status == 0 and found != expected:
            self._note("success with another result", done.stderr)
        for name, content in found.items():
            if expected.get(name) != content:
                self._note(f"{name} is half-made: {content[:80]!r}", done.stderr)

    def _judge_store(self) -> None:
        left = [str(each) for each in (self.store / "scratch").glob("*")]
        left += [line for line in MOUNTS.read_text().splitlines() if str(self.store) in line]
        if left:
            self._note(f"left over: {left}")
        check = self.run("store", "check", "--deep")
        if check.status == 0:
            return
        repair = self.run("store", "check", "--deep", "--repair")
        self.repaired = check.stdout
        check = self.run("store", "check", "--deep")
        if check.status != 0:
            self._note("the store stays damaged", repair.stderr + check.stdout)

    def _note(self, what: str, stderr: str = "") -> None:
        self.problems.append(f"{what}\n{stderr[-1500:]}".strip())


def _content(path: Path) -> bytes | str:
    """What makes a file what it is. The times of an image's files are those of its build."""
    if path.suffix == ".tar":
        return _image(path)
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return "directory" if path.is_dir() else path.read_bytes()


def _image(path: Path) -> str:
    try:
        return f"{validate(path, scratch=path.parent)} complete image"
    except ArchiveInvalid as exc:
        return f"a broken image: {exc}"
