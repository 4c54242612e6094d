"""Debian's podman, with images and containers of the test's own."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from layerline import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """The program; `environ` has it as the only container program on the path."""

    environ: Mapping[str, str]
    program: Path

    def run(self, *words: str, timeout: float = 120.0) -> bytes:
        return command.run([self.program, *words], env=self.environ, timeout=timeout).stdout


@contextlib.contextmanager
def podman(place: Path) -> Iterator[Podman]:
    """A podman whose storage is a directory; it needs no daemon."""
    program = command.find("podman")
    if program is None:
        pytest.skip("podman is not installed")
    folder = place / "bin"
    folder.mkdir()
    # Podman takes no path of more than 50 characters for its state.
    with tempfile.TemporaryDirectory(prefix="podman-") as state:
        words = f"--root {place}/root --runroot {state} --tmpdir {state} --storage-driver vfs"
        script = _script(folder / "podman", f'exec {program} {words} "$@"')
        _script(folder / "docker", "exit 1")  # which is looked for first
        path = f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"
        yield Podman(environ={"PATH": path, "HOME": str(place)}, program=script)


def _script(place: Path, line: str) -> Path:
    place.write_text(f"#!/bin/sh\n{line}\n")
    place.chmod(0o755)
    return place
