"""Load images into another container program of this machine: docker, podman or containerd.

The first one that responds gets the archive, with its own command for loading images.
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
    """A container program: the arguments that test it (`probe`) and those that load an archive."""

    program: str
    probe: tuple[str, ...]
    load: tuple[str, ...]


LOADERS = (
    Loader(program="docker", probe=("version",), load=("load", "--input")),
    Loader(program="podman", probe=("version",), load=("load", "--input")),
    Loader(program="nerdctl", probe=("version",), load=("load", "--input")),
    Loader(program="ctr", probe=("--connect-timeout", "2s", "version"), load=("images", "import")),
)


def find_loader(environ: Mapping[str, str]) -> tuple[Loader, Path]:
    """The first program that is installed and works; the error quotes each that failed."""
    path = environ.get("PATH") or command.DEFAULT_PATH
    errors = []
    for loader in LOADERS:
        program = command.find(loader.program, path=path)
        if program is None:
            continue
        done = command.run([program, *loader.probe], env=environ, timeout=_SECONDS, expect=None)
        if done.status == 0:
            return loader, program
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        errors.append(f"{loader.program}: {lines[-1] if lines else f'status {done.status}'}")
    if errors:
        message = f"no container program on this machine responds: {'; '.join(errors)}"
        raise ImageError(message)
    names = ", ".join(loader.program for loader in LOADERS)
    message = (
        f"no container program found to load the image into (tried {names}): "
        "install one, or export the image to a file"
    )
    raise ProgramMissing(message)


def load(found: tuple[Loader, Path], archive: Path, environ: Mapping[str, str]) -> None:
    """Load an archive into the program that was found."""
    loader, program = found
    command.run([program, *loader.load, archive], env=environ)
