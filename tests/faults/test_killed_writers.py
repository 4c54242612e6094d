"""Whoever is killed while a file is written leaves nothing next to it, and what was there stays.

Each writer runs in a process of its own that is killed at the call which would give the complete
file its name: then most is there that could be left over.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from layerline.cli.manage.module_file import ModuleFile
from layerline.doctor.edits import with_block, write
from layerline.engine.api.host_export import export_file
from layerline.engine.api.secrets import salt_of
from layerline.engine.store.store import Store
from layerline.engine.store.tree import Tree
from layerline.engine.store.usage import find_volumes
from layerline.engine.store.volume_archive import export_volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Writer = Callable[[Path], None]


def export_a_volume(place: Path) -> None:
    with Store.open(place.parent / "store") as store:
        export_volume(store, find_volumes(store.root, "pip")[0], place / "file")


def export_a_file(place: Path) -> None:
    entry = Tree((place.parent / "layer",)).lookup("/file")
    export_file(entry, "file", place / "file", allow_parent=False)


def write_a_module(place: Path) -> None:
    ModuleFile(root=place, document={"name": "m"}).write()


def edit(place: Path) -> None:
    write(with_block(place / "file", ["data"]), place)


def create_a_salt(place: Path) -> None:
    salt_of.__wrapped__(place)


def create_a_store(place: Path) -> None:
    with Store.open(place):
        pass


def killed_at_the_name(writer: Writer, place: Path) -> bool:
    """Run a writer; its process is killed when a file shall get a name."""
    process = os.fork()
    if process == 0:
        try:
            # Signals end this process only; Path uses the functions of os, too.
            for name in ("link", "replace", "rename"):
                setattr(os, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            writer(place)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def contents(place: Path) -> dict[str, bytes]:
    """The files of a directory, by name."""
    return {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("writer", [export_a_volume, export_a_file, write_a_module, edit])
def test_nothing_is_left_next_to_a_file(tmp_path: Path, writer: Writer, *, there: bool) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer/file").write_text("new")
    with Store.open(tmp_path / "store") as store:
        (store.volumes.volume("pip") / "wheel").write_text("new")
    before = {"file": b"before\n", "dagger.json": b"{}"} if there else {}
    for name, data in before.items():
        (place / name).write_bytes(data)
    assert killed_at_the_name(writer, place)
    assert contents(place) == before
    assert {path.name for path in place.iterdir()} == set(before)
    writer(place)
    assert len(contents(place)) == (2 if there else 1)
    assert contents(place) != before


@pytest.mark.parametrize("writer", [create_a_salt, create_a_store])
def test_nothing_is_left_in_a_store(tmp_path: Path, writer: Writer) -> None:
    place = tmp_path / "store"
    place.mkdir()
    assert killed_at_the_name(writer, place)
    assert list(contents(place)) == []
    writer(place)
    assert contents(place)
