"""Images of another container program of this machine: docker, podman or containerd.

The first one that responds is asked, with its own commands for loading and saving archives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.image.reference import Reference
from layerline.errors import CommandFailed, ImageError, ProgramMissing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerProgram:
    """A container program: the arguments that test it (`probe`), load an archive and save one.

    After those of `save` come the file and the image; one that is not `lenient` knows images by
    complete references alone. With `pull` it pulls a reference from a registry on loopback, and
    with `untag` it forgets a reference, put in place of {}, and keeps an image that has others.
    """

    program: str
    probe: tuple[str, ...] = ("version",)
    load: tuple[str, ...] = ("load", "--input")
    save: tuple[str, ...] = ("save", "--output")
    lenient: bool = True
    pull: tuple[str, ...] = ()
    untag: tuple[str, ...] = ("image", "rm", "{}")


PROGRAMS = (
    ContainerProgram(program="docker", pull=("pull", "--quiet")),
    ContainerProgram(
        program="podman",
        pull=("pull", "--quiet", "--tls-verify=false"),
        untag=("untag", "{}", "{}"),  # the image and its name: without a name it loses all
    ),
    ContainerProgram(program="nerdctl", pull=("pull", "--quiet")),
    ContainerProgram(
        program="ctr",
        probe=("--connect-timeout", "2s", "version"),
        load=("images", "import"),
        save=("images", "export"),
        lenient=False,
    ),
)


def find_container_program(environ: Mapping[str, str]) -> tuple[ContainerProgram, Path]:
    """The first program that is installed and works; the error quotes each that failed."""
    path = environ.get("PATH") or command.DEFAULT_PATH
    errors = []
    for each in PROGRAMS:
        program = command.find(each.program, path=path)
        if program is None:
            continue
        done = command.run([program, *each.probe], env=environ, timeout=_SECONDS, expect=None)
        if done.status == 0:
            return each, program
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        errors.append(f"{each.program}: {lines[-1] if lines else f'status {done.status}'}")
    if errors:
        message = f"no container program on this machine responds: {'; '.join(errors)}"
        raise ImageError(message)
    names = ", ".join(each.program for each in PROGRAMS)
    message = (
        f"no container program found for images of this machine (tried {names}): "
        "install one, or use a file: export, import"
    )
    raise ProgramMissing(message)


def load(found: tuple[ContainerProgram, Path], archive: Path, environ: Mapping[str, str]) -> None:
    """Load an archive into the program that was found."""
    known, program = found
    command.run([program, *known.load, archive], env=environ)


def save(
    found: tuple[ContainerProgram, Path], name: str, archive: Path, environ: Mapping[str, str]
) -> None:
    """Save an image of the program that was found. Raises ImageError if it has none such."""
    known, program = found
    complete = str(Reference.parse(name).with_default_tag())
    image = name if known.lenient else complete
    try:
        command.run([program, *known.save, archive, image], env=environ)
    except CommandFailed as exc:
        lines = exc.stderr.strip().splitlines()
        message = f"{known.program} has no image {name!r}: {lines[-1] if lines else exc}"
        raise ImageError(message) from exc
