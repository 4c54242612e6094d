"""A call that cannot fit is refused before it starts, if its last run shows that."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.store.forecast import forecast, remember_usage, require_room
from layerline.engine.store.pruning import prune
from layerline.engine.store.store import Store
from layerline.errors import NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 20_000_000


@pytest.fixture
def disk(tmp_path: Path, loop_mounts: None) -> Iterator[Path]:  # noqa: ARG001
    """A disk of 64 MiB with a store, in which a call has made a layer of 20 MB."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    command.run(["mkfs.ext4", "-q", "-F", image])
    command.run(["mount", "-o", "loop", image, place])
    try:
        began = time.time()
        build(place / "store", "layer")
        remember_usage(place / "store", "call", {"layer"}, since=began)
        yield place
    finally:
        command.run(["umount", place])


def build(root: Path, name: str) -> None:
    with Store.open(root) as store, store.snapshots.draft() as draft:
        (draft.fs / "file").write_bytes(os.urandom(SIZE))
        draft.commit(name)


def test_what_exists_is_not_needed_again(disk: Path) -> None:
    assert forecast(disk / "store", "call") == 0
    assert forecast(disk / "store", "another call") == 0
    (disk / "filler").write_bytes(bytes(30_000_000))
    require_room(disk / "store", "call", disk / "config.toml")
    prune(disk / "store", keep_bytes=0)
    assert SIZE <= forecast(disk / "store", "call") < SIZE * 1.01


def test_a_call_that_cannot_fit_is_refused_with_what_helps(disk: Path) -> None:
    root, config = disk / "store", disk / "config.toml"
    prune(root, keep_bytes=0)
    require_room(root, "call", config)
    build(root, "other")
    (disk / "filler").write_bytes(bytes(25_000_000))
    with pytest.raises(
        NoSpace, match=r"likely to need 20\.0 MB, .* would free enough; or"
    ) as error:
        require_room(root, "call", config)
    keep = int(str(error.value).partition("--keep-storage ")[2].partition("MB")[0])
    prune(root, keep_bytes=keep * 10**6)
    require_room(root, "call", config)
    (disk / "more").write_bytes(bytes(20_000_000))
    with pytest.raises(NoSpace, match=r"pruning would free only .* free [\d.]+ MB elsewhere"):
        require_room(root, "call", config)
