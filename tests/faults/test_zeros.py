"""A layer of 3 GiB of zeros, as `docker load` takes it: exported here, and imported again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import CommandLine

pytestmark = [pytest.mark.slow, pytest.mark.privileged]

SIZE = 3 << 30
MOST_ON_DISK = 400 << 20  # the base image and its blob are 240 MB of it


def used(place: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in place.rglob("*"))


@pytest.mark.parametrize("compression", ["Gzip", "Zstd"])
def test_what_is_exported_is_imported(
    command_line: CommandLine, tmp_path: Path, compression: str
) -> None:
    base = ("core", "container", "from", "--address=debian:bookworm-slim")
    make = ("with-exec", f"--args=truncate,--size={SIZE},/zeros")
    archive = tmp_path / "zeros.tar"
    forced = f"--forced-compression={compression}"
    command_line.run(*base, *make, "export", f"--path={archive}", forced)
    assert archive.stat().st_size < 100 << 20
    other = tmp_path / "other"
    environ = {**command_line.environ, "LAYERLINE_STORE": str(other)}
    elsewhere = replace(command_line, environ=environ)
    load = ("core", "container", "import", f"--source={archive}")
    size = elsewhere.run(*load, "file", "--path=/zeros", "size").stdout
    assert float(size) == SIZE  # printed as a float, as Dagger does
    assert used(other) < MOST_ON_DISK
    shutil.rmtree(other)
