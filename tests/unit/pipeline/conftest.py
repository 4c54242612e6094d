"""An environment of packages, which probes look at."""

from __future__ import annotations

import shutil
import venv
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline.probe import own_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Site:
    """A virtual environment, into which distributions are put file by file."""

    def __init__(self, place: Path) -> None:
        venv.create(place, symlinks=True)
        self.python = place / "bin/python"
        [self.packages] = place.glob("lib/python*/site-packages")

    def install(
        self,
        name: str,
        files: Mapping[str, str | bytes],
        requires: Sequence[str] = (),
        *,
        record: bool = True,
    ) -> None:
        info = f"{name.replace('-', '_')}-1.dist-info"
        asked = "".join(f"Requires-Dist: {each}\n" for each in requires)
        known = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{asked}"}
        listed = "".join(f"{path},,\n" for path in (*files, *known))
        if record:
            known[f"{info}/RECORD"] = listed
        for path, content in {**files, **known}.items():
            place = self.packages / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)

    def probe(self, name: str, *argv: str) -> tuple[int, str, str]:
        """Exit status, output and errors of a probe."""
        text = own_program(name).encode()
        place = self.packages
        done = command.run([self.python, "-", *argv], stdin=text, cwd=place, expect=None)
        return done.status, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site") / "venv")


@pytest.fixture
def site(environment: Site) -> Site:
    """The environment without any package."""
    shutil.rmtree(environment.packages)
    environment.packages.mkdir()
    return environment
