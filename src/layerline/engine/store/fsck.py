"""Whether the store is whole: names, markers and checksums; with `deep` the bytes of every blob.

Invariant: what is reported damaged is never needed: it is made or fetched again. Repairing removes
it; volumes are users' data and are only reported.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store.blobs import CHUNK
from layerline.engine.store.digest import digest_of
from layerline.engine.store.rmtree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.store.store import Store

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it was made. `place` is what repairing removes, if anything."""

    kind: str
    name: str
    what: str
    place: Path | None = None


def find_problems(store: Store, *, deep: bool = False) -> list[Problem]:
    """Everything that is wrong with an open store; a healthy one gives nothing."""
    return [*_index(store), *_blobs(store, deep=deep), *_snapshots(store), *_volumes(store)]


def repair(store: Store, problems: list[Problem]) -> None:
    """Remove what is damaged."""
    for problem in problems:
        if problem.place is not None:
            remove_tree(problem.place)
    store.index.damaged(drop=True)


def _index(store: Store) -> Iterator[Problem]:
    for part in sorted(store.root.glob("damaged-*")):
        what = "was damaged and is set aside; results are made again"
        yield Problem(kind="index", name=part.name, what=what, place=part)
    bad = store.index.damaged()
    if bad:
        what = f"{bad} rows do not match their checksum and count as absent"
        yield Problem(kind="index", name="index.db", what=what)


def _blobs(store: Store, *, deep: bool) -> Iterator[Problem]:
    for path in sorted((store.root / "blobs").iterdir()):
        if _HEX.fullmatch(path.name) is None or path.is_symlink() or not path.is_file():
            what = "is no blob; something else put it there"
            yield Problem(kind="blob", name=path.name, what=what)
        elif deep and _sha256(path) != path.name:
            what = "has other bytes than its name says"
            yield Problem(kind="blob", name=path.name, what=what, place=path)


def _snapshots(store: Store) -> Iterator[Problem]:
    for place in sorted((store.root / "snapshots").iterdir()):
        if not (place / "fs").is_dir():
            what = "has no files"
        elif not store.snapshots.has(place.name):
            what = "was not wholly on the disk when the machine stopped"
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
            what = "does not say whose it is"
            yield Problem(kind="volume", name=place.name, what=what)
        elif not (place / "data").is_dir():
            yield Problem(kind="volume", name=place.name, what="has no directory")


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            hasher.update(chunk)
    return hasher.hexdigest()
