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

SETTINGS = """\
[storage]
driver = "{driver}"
graphroot = "{root}"
runroot = "{state}"
[storage.options]
pull_options = {{enable_partial_images = "{partial}", use_hard_links = "false", ostree_repos = ""}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """The program; `environ` has it as the only container program on the path."""

    environ: Mapping[str, str]
    program: Path

    def run(self, *words: str, timeout: float = 120.0) -> bytes:
        return command.run([self.program, *words], env=self.environ, timeout=timeout).stdout

    def said(self, *words: str) -> str:
        """Run a command; what it says on standard error."""
        return command.run([self.program, *words], env=self.environ).stderr.decode()


@contextlib.contextmanager
def podman(place: Path, *, partial: bool = False) -> Iterator[Podman]:
    """A podman whose storage is a directory; it needs no daemon.

    With `partial` it mounts overlays, and pulls of a layer that it can read in parts only those
    files that it lacks.
    """
    program = command.find("podman")
    if program is None:
        pytest.skip("podman is not installed")
    folder = place / "bin"
    folder.mkdir()
    # Podman takes no path of more than 50 characters for its state.
    with tempfile.TemporaryDirectory(prefix="podman-") as state:
        driver = "overlay" if partial else "vfs"
        root = place / "root"
        settings = place / "storage.conf"
        settings.write_text(
            SETTINGS.format(driver=driver, root=root, state=state, partial=str(partial).lower())
        )
        script = _script(folder / "podman", f'exec {program} --tmpdir {state} "$@"')
        _script(folder / "docker", "exit 1")  # which is looked for first
        path = f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"
        own = {"PATH": path, "HOME": str(place), "CONTAINERS_STORAGE_CONF": str(settings)}
        try:
            yield Podman(environ=own, program=script)
        finally:
            unmount(root)


def unmount(root: Path) -> None:
    """Unmount what podman leaves mounted in its storage with overlays."""
    command.run(["umount", "--recursive", "--lazy", root / "overlay"], expect=None)


def _script(place: Path, line: str) -> Path:
    place.write_text(f"#!/bin/sh\n{line}\n")
    place.chmod(0o755)
    return place
