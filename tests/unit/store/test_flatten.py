"""One layer can replace many, alone and above others."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.store.writer import Writer
from tests.unit.store.test_writer import random_change, read_mounted, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layerline.engine.store.store import Store


def chain(store: Store, seed: int, length: int) -> list[str]:
    """Snapshots of random changes, each on top of those before."""
    chance = random.Random(seed)
    names: list[str] = []
    for number in range(length):
        with store.snapshots.draft() as draft:
            writer = Writer(store.tree(names), draft.fs)
            random_change(chance)(writer)
            names.append(draft.commit(f"layer-{number}"))
    return names


@pytest.mark.parametrize("seed", range(8))
def test_the_flat_layer_shows_the_same_wherever_the_chain_is_cut(store: Store, seed: int) -> None:
    names = chain(store, seed, 9)
    expected = read_tree(store.tree(names))
    assert expected != {}
    for begin in (0, 3, 6):
        flat = [*names[:begin], store.flatten(names[begin:])]
        assert read_tree(store.tree(flat)) == expected
    assert read_tree(store.tree([store.flatten(names[:6]), *names[6:]])) == expected


@pytest.mark.parametrize("again", ["d/new", "d"])
def test_what_the_flat_layer_hid_stays_hidden(store: Store, again: str) -> None:
    changes: list[Callable[[Writer], None]] = [
        lambda writer: writer.write("d/old", b""),
        lambda writer: writer.remove("d"),
        lambda writer: writer.write(again, b""),
        lambda writer: (writer.remove if again == "d" else writer.mkdir)("d"),
        lambda writer: writer.mkdir("d"),
        lambda writer: writer.write("d/last", b""),
    ]
    names: list[str] = []
    for number, change in enumerate(changes):
        with store.snapshots.draft() as draft:
            change(Writer(store.tree(names), draft.fs))
            names.append(draft.commit(f"layer-{number}"))
    expected = read_tree(store.tree(names))
    assert "/d/old" not in expected
    for begin in range(len(names) - 1):
        for end in range(begin + 2, len(names) + 1):
            flat = [*names[:begin], store.flatten(names[begin:end]), *names[end:]]
            assert read_tree(store.tree(flat)) == expected


def test_a_directory_recreated_within_one_layer_stays_opaque(store: Store) -> None:
    def anew(writer: Writer) -> None:
        writer.remove("d")
        writer.write("d/new", b"")

    names: list[str] = []
    changes: list[Callable[[Writer], None]] = [
        lambda writer: writer.write("d/old", b""),
        anew,
        lambda writer: writer.mkdir("e"),
    ]
    for number, change in enumerate(changes):
        with store.snapshots.draft() as draft:
            change(Writer(store.tree(names), draft.fs))
            names.append(draft.commit(f"layer-{number}"))
    flat = [names[0], store.flatten(names[1:])]
    assert list(read_tree(store.tree(flat))) == ["/d", "/d/new", "/e"]


def test_a_directory_without_a_mark_over_a_file_hides_too(store: Store) -> None:
    names: list[str] = []
    for number, path in enumerate(("d/old", "d", "d/new")):
        with store.snapshots.draft() as draft:
            (draft.fs / path).parent.mkdir(exist_ok=True)
            (draft.fs / path).write_text("x")
            names.append(draft.commit(f"layer-{number}"))
    flat = [names[0], store.flatten(names[1:])]
    assert (
        list(read_tree(store.tree(flat))) == list(read_tree(store.tree(names))) == ["/d", "/d/new"]
    )


def test_files_are_shared_and_the_result_is_kept(store: Store) -> None:
    names = chain(store, 1, 3)
    with store.snapshots.draft() as draft:
        Writer(store.tree(names), draft.fs).write("shared", b"x")
        names.append(draft.commit("shared"))
    flat = store.flatten(names)
    assert store.flatten(names) == flat
    own = (store.snapshots.path(flat) / "shared").stat()
    assert own.st_ino == (store.snapshots.path("shared") / "shared").stat().st_ino


def test_more_layers_than_the_kernel_mounts(
    store: Store,
    tmp_path: Path,
    overlay: None,  # noqa: ARG001
) -> None:
    names: list[str] = []
    for number in range(520):
        with store.snapshots.draft() as draft:
            (draft.fs / f"f{number}").write_text("x")
            names.append(draft.commit(f"layer-{number}"))
    place = tmp_path / "merged"
    place.mkdir()
    flat = store.snapshots.path(store.flatten(names))
    options = f"lowerdir={flat}:{store.root / 'empty'}"
    command.run(["mount", "-t", "overlay", "overlay", "-o", options, place])
    try:
        assert len(read_mounted(place)) == 520
    finally:
        command.run(["umount", place])
