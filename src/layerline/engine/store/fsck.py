"""Checks of the store: names, markers and checksums; with `deep`, the content of every blob.

Invariant: damaged items can be rebuilt or fetched again, so a repair removes them. Volumes are
users' data and are only reported.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.digest import digest_of
from layerline.engine.store.mountpoints import mount_points_below
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.tree_digest import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.store.store import Store

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A damaged item of the store. `place` is what a repair removes, if anything."""

    kind: str
    name: str
    what: str
    place: Path | None = None


def find_problems(store: Store, *, deep: bool = False) -> list[Problem]:
    """Everything that is wrong with an open store."""
    return [
        *_index(store),
        *_blobs(store, deep=deep),
        *_snapshots(store),
        *_volumes(store),
        *_mounts(store),
    ]


def repair(store: Store, problems: list[Problem]) -> None:
    """Remove the damaged items."""
    for problem in problems:
        if problem.place is not None:
            remove_tree(problem.place)
    store.index.check_rows(drop=True)


def _index(store: Store) -> Iterator[Problem]:
    for part in sorted(store.root.glob("damaged-*")):
        what = "was damaged and has been set aside; results are computed again"
        yield Problem(kind="index", name=part.name, what=what, place=part)
    bad = store.index.check_rows()
    if bad:
        what = f"{bad} rows do not match their checksum and are ignored"
        yield Problem(kind="index", name="index.db", what=what)


def _blobs(store: Store, *, deep: bool) -> Iterator[Problem]:
    for path in sorted((store.root / "blobs").iterdir()):
        if _HEX.fullmatch(path.name) is None or path.is_symlink() or not path.is_file():
            what = "is not a blob; something else put it in the store"
            yield Problem(kind="blob", name=path.name, what=what)
        elif deep and file_digest(str(path)) != path.name:
            what = "content does not match its digest"
            yield Problem(kind="blob", name=path.name, what=what, place=path)


def _snapshots(store: Store) -> Iterator[Problem]:
    for place in sorted((store.root / "snapshots").iterdir()):
        if not (place / "fs").is_dir():
            what = "has no files"
        elif not store.snapshots.has(place.name):
            what = "was not completely on disk when the machine stopped"
        else:
            continue
        yield Problem(kind="snapshot", name=place.name, what=what, place=place)


def _volumes(store: Store) -> Iterator[Problem]:
    for place in sorted((store.root / "volumes").iterdir()):
        try:
            identity = json.loads((place / "identity.json").read_bytes())
        except (OSError, ValueError):
            identity = None
        if identity is None or digest_of(identity) != place.name:
            what = "has no valid identity"
            yield Problem(kind="volume", name=place.name, what=what)
        elif not (place / "data").is_dir():
            yield Problem(kind="volume", name=place.name, what="has no data directory")


def _mounts(store: Store) -> Iterator[Problem]:
    for path in mount_points_below(store.root):
        what = f"is mounted in the store, which cannot remove it: unmount it with 'umount {path}'"
        yield Problem(kind="mount", name=str(path.relative_to(store.root)), what=what)
