"""Images handed to the other container programs of this machine: docker, podman, containerd.

Invariant: the first of them that answers gets the archive, by its own command for loading images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import command
from layerline.errors import ImageError, ProgramMissing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """A program that keeps images: how it tells that it works, and how it takes an archive."""

    program: str
    answers: tuple[str, ...]
    load: tuple[str, ...]


LOADERS = (
    Loader(program="docker", answers=("version",), load=("load", "--input")),
    Loader(program="podman", answers=("version",), load=("load", "--input")),
    Loader(program="nerdctl", answers=("version",), load=("load", "--input")),
    Loader(
        program="ctr", answers=("--connect-timeout", "2s", "version"), load=("images", "import")
    ),
)


def find_loader(environ: Mapping[str, str]) -> tuple[Loader, Path]:
    """The first program that is installed and answers; an error tells what each one said."""
    path = environ.get("PATH") or command.DEFAULT_PATH
    complaints = []
    for loader in LOADERS:
        program = command.find(loader.program, path=path)
        if program is None:
            continue
        done = command.run([program, *loader.answers], env=environ, timeout=_SECONDS, expect=None)
        if done.status == 0:
            return loader, program
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        complaints.append(f"{loader.program}: {lines[-1] if lines else f'status {done.status}'}")
    if complaints:
        message = f"no container program on this machine answers: {'; '.join(complaints)}"
        raise ImageError(message)
    names = ", ".join(loader.program for loader in LOADERS)
    message = (
        f"there is no container program to load the image into (looked for {names}). "
        "Install one, or export the image to a file."
    )
    raise ProgramMissing(message)


def load(found: tuple[Loader, Path], archive: Path, environ: Mapping[str, str]) -> None:
    """Load an archive into the program that was found."""
    loader, program = found
    command.run([program, *loader.load, archive], env=environ)
