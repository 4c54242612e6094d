"""What this machine cannot do faster: installing the lock with nothing around it, and one tar."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.docker.cases import Timing
from layerline import command
from layerline.pipeline import lock
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.docker.repository import Repository

_PYTHON_VERSION = "3.11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The floor, and how many bytes the installation has."""

    install: Timing
    tar: Timing
    size: int


def floor(repository: Repository, caches: Iterable[Path], work: Path) -> Floor:
    """Install all layers at once with the caches' wheels, then write what came out as one tar."""
    with tempfile.TemporaryDirectory(dir=work, prefix="floor-") as name:
        place = Path(name)
        cache, prefix = place / "cache", place / "prefix"
        for each in caches:
            # Of what several caches have, the first one is kept.
            command.run(["cp", "--archive", "--link", "--no-clobber", f"{each}/.", cache])
        pins = [pin for layer in repository.layers() for pin in layer.pins]
        requirements = place / "requirements.txt"
        requirements.write_text(lock.requirements(pins))
        uv = Path(sys.executable).with_name("uv")
        words: list[str | Path] = [uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        words += [
            "--compile-bytecode",
            "--link-mode=copy",
            f"--cache-dir={cache}",
            f"--python-version={_PYTHON_VERSION}",
        ]
        words += [f"--target={prefix}", f"--requirements={requirements}"]
        install = Timing.of(lambda: command.run(words, env=process_environ()))
        archive = place / "prefix.tar"
        tar = Timing.of(lambda: command.run(["tar", "--create", f"--file={archive}", prefix]))
        return Floor(install=install, tar=tar, size=archive.stat().st_size)
