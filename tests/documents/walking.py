"""A page followed by a user: files are written as it shows them, commands are run in order."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.settings import process_environ
from tests.documents.blocks import HOME
from tests.documents.elsewhere import reason
from tests.documents.output_shape import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.documents.blocks import Block, Command
    from tests.documents.sessions import Session

LONGEST_SECONDS = 1800.0
BIN = Path(sys.executable).parent
# The doctor's status says what it found on this machine: see `--fail-on`.
_FINDINGS = (0, 1)
# What serves until it is interrupted: with which flags it takes a free port, and what it says then.
_SERVES = {
    "layerline registry": ("--listen=127.0.0.1:0", "serving "),
    "layerline up": ("", "http://localhost"),
}
_EXPORT = re.compile(r"export (\w+)=(\S+)$")


@dataclass(slots=True, kw_only=True)
class Walk:
    """One session of a page: the repository, and the environment that commands may change.

    `place` is around the repository. `texts` replace `{registry}` and the like in what the session
    replaces. `before` has what happens before a command that holds a text.
    """

    session: Session
    place: Path
    environ: dict[str, str]
    texts: Mapping[str, str] = field(default_factory=dict)
    directory: str = "."
    before: dict[str, Callable[[], object]] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return HOME if self.session.in_checkout else self.place / "repository"

    def prepare(self) -> None:
        """Write what the page presupposes, in a repository with one commit."""
        if self.session.in_checkout:
            return
        for path, text in self.session.files.items():
            file = self.repository / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.repository.mkdir(exist_ok=True)
        add_program(self.repository)
        command.run(["git", "init", "-q"], cwd=self.repository)
        self.commit()

    def commit(self) -> None:
        """Commit all files of the repository."""
        own = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        for argv in (("add", "."), ("commit", "-qm", "x", "--allow-empty")):
            command.run(["git", *own, *argv], cwd=self.repository)

    def go(self, *, quick: bool) -> list[str]:
        """Go through the page and return the commands that were run."""
        chosen = self.session.commands(quick=quick)
        for block in self.session.blocks():
            if block.language == "toml" and not quick:
                self._write(block)
            for each in block.commands():
                if each in chosen:
                    self.directory = self._directory(block)
                    self.run(each)
        return [each.text for each in chosen]

    def run(self, shown: Command) -> command.Finished | None:
        """Run a command as the page has it, and compare what it prints."""
        assert not reason(shown)
        if match := _EXPORT.match(shown.text):
            value = self.shell(f"printf %s {self._own(match[2])}").stdout.decode()
            self.environ[match[1]] = value
            return None
        text = self._own(shown.text)
        for held, happens in self.before.items():
            if held in text:
                happens()
        for begin, (flags, said) in _SERVES.items():
            if text.startswith(begin):
                self._serve(f"{text.partition('#')[0].rstrip()} {flags}", said)
                return None
        done = self.shell(text)
        allowed = _FINDINGS if text.endswith("doctor") or "layerline doctor " in text else (0,)
        said = f"{shown.block.place}: {text}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        assert done.status in allowed, said
        assert b"Traceback" not in done.stderr, said
        if shown.output:
            assert shape_of(done.stdout.decode()) == shape_of(shown.output), said
        return done

    def succeed(self, text: str) -> None:
        """Run a command line that the page does not show."""
        done = self.shell(text)
        assert done.status == 0, f"{text}\n{done.stderr.decode()}"

    def shell(self, text: str) -> command.Finished:
        """Run a command line in the repository."""
        return command.run(
            ["bash", "-c", text],
            env=self.environ,
            cwd=self.repository / self.directory,
            timeout=LONGEST_SECONDS,
            expect=None,
        )

    def _serve(self, text: str, said: str) -> None:
        """Start what serves until it is interrupted, and interrupt it."""
        process = command.start(
            ["bash", "-c", f"exec {text}"],
            env=self.environ,
            cwd=self.repository / self.directory,
            stderr=command.PIPE,
        )
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line.decode())
                if said in lines[-1]:
                    break
            assert said in lines[-1], lines
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=LONGEST_SECONDS)
            assert process.returncode == 0, lines
        finally:
            process.kill()
            process.communicate()

    def _directory(self, block: Block) -> str:
        within = self.session.within.items()
        return next((where for begin, where in within if block.text.startswith(begin)), ".")

    def _own(self, text: str) -> str:
        """A text of the page with what this machine has instead."""
        for shown, own in self.session.replaced.items():
            text = text.replace(shown, own.format(place=self.place, **self.texts))
        return text

    def _write(self, block: Block) -> None:
        """Write a definition as the page shows it, or add its keys to that of the repository."""
        file = self.repository / "layerline.toml"
        document = tomllib.loads(block.text)
        if {"targets", "images"} <= document.keys():
            file.write_text(block.text)
        elif any(block.text.startswith(begin) for begin in self.session.merged):
            header, _, keys = self._own(block.text).partition("\n")
            file.write_text(file.read_text().replace(f"{header}\n", f"{header}\n{keys}"))


def add_program(place: Path) -> None:
    """Put `layerline` into a directory, as the launcher is in a checkout."""
    program = place / "layerline"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={HOME}/src exec {sys.executable} -m layerline "$@"\n'
    )
    program.chmod(0o755)


def environment(place: Path, **more: str) -> dict[str, str]:
    """A home and a store of their own below a place, with `layerline` and uv on the PATH."""
    programs = place / "bin"
    programs.mkdir(parents=True)
    add_program(programs)
    for name in ("uv", "uvx"):
        if (BIN / name).exists():
            shutil.copy(BIN / name, programs / name)
    inherited = process_environ()
    own = {
        "CI": "",
        "HOME": str(place / "home"),
        "LAYERLINE_STORE": str(place / "store"),
        "PATH": f"{programs}:{inherited['PATH']}",
        "XDG_CONFIG_HOME": str(place / "home/.config"),
    }
    (place / "home").mkdir()
    return {**{k: v for k, v in inherited.items() if k != "PYTHONPATH"}, **own, **more}
