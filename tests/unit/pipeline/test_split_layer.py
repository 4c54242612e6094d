"""`max_layer_mb`: the parts of a layer have each file once, and depend on its files alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.errors import CommandFailed
from layerline.patterns import Decision, Filter
from layerline.pipeline.environment import program

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"one": 5000, "three": 1000, "two": 3000}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Three packages: two share a namespace, all have a program."""
    place = tmp_path / "venv"
    site = place / "lib/site-packages"
    for name, size in SIZES.items():
        files = {
            f"space/{name}/data [1].bin": b"x" * size,
            f"{name}.dist-info/METADATA": b"",
            f"../../bin/{name}": b"#!",
        }
        for path, data in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).resolve().parent.mkdir(parents=True, exist_ok=True)
            (site / path).resolve().write_bytes(data)
        info = site / f"{name}-1.0.dist-info"
        (site / f"{name}.dist-info").rename(info)
        names = [f"{name}-1.0.dist-info/RECORD"]
        names += [path.replace(f"{name}.dist", f"{name}-1.0.dist") for path in files]
        (info / "RECORD").write_text("".join(f"{each},,\n" for each in names))
    (place / "of nobody").write_text("")
    (place / "empty").mkdir()
    return place


def split(prefix: Path, limit: int) -> list[list[str]]:
    argv = [sys.executable, "-c", program("split_layer.py"), str(prefix), str(limit)]
    found: list[list[str]] = json.loads(command.run(argv).stdout)
    return found


def test_a_layer_that_is_small_enough_is_not_split(prefix: Path) -> None:
    assert split(prefix, 100_000) == []


def test_each_file_is_in_the_part_of_its_package(prefix: Path) -> None:
    parts = split(prefix, 12_000)
    assert len(parts) == 2
    assert parts == split(prefix, 12_000)
    filters = [Filter(part, []) for part in parts]
    for path in sorted(prefix.rglob("*")):
        name = str(path.relative_to(prefix))
        if path.is_dir() and any(path.iterdir()):
            continue
        kept = [each(name, is_dir=path.is_dir()) for each in filters]
        where = [number for number, found in enumerate(kept) if found is Decision.KEEP]
        assert where == [1 if "two" in name or "three" in name else 0], name


def test_a_package_that_is_too_large_is_named(prefix: Path) -> None:
    with pytest.raises(CommandFailed, match="one takes 8192 bytes: more than the 4000"):
        split(prefix, 4000)
