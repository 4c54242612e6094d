"""Checks of the store: names, markers and checksums; with `deep`, all content.

Invariant: damaged items can be rebuilt or fetched again, so a repair removes them, and what was
computed from them. Volumes are users' data and are only reported.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.store import manifest
from layerline.engine.store.dependents import find_dependents
from layerline.engine.store.digest import digest_of
from layerline.engine.store.mountpoints import mount_points_below
from layerline.engine.store.promise import read_promise
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.snapshots import DAMAGED
from layerline.engine.store.tree_digest import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.store.store import Store

_SHOWN = 3  # differences of a snapshot that a problem names
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
        *_snapshots(store, deep=deep),
        *_volumes(store),
        *_mounts(store),
    ]


def find_unverified(store: Store) -> list[str]:
    """The snapshots without a manifest: older ones, and those of interrupted sessions."""
    return [
        place.name
        for place in sorted((store.root / "snapshots").iterdir())
        if (place / "fs").is_dir() and manifest.recorded_size(place / manifest.NAME) is None
    ]


def record(store: Store, names: list[str]) -> None:
    """Write the manifests of snapshots that have none: from now on they are verified."""
    for name in names:
        store.snapshots.record(name)


def repair(store: Store, problems: list[Problem]) -> list[str]:
    """Remove the damaged items and what is based on them; return the names of the latter."""
    damaged = {problem.name for problem in problems if problem.kind == "snapshot"}
    dependents = find_dependents(store.index.rows(), damaged)
    store.index.remove(dependents.rows)
    for problem in problems:
        if problem.place is not None:
            _remove(store, problem.place)
    others = sorted(dependents.snapshots - damaged)
    existing = [name for name in others if (store.root / "snapshots" / name).is_dir()]
    for name in existing:
        _remove(store, store.root / "snapshots" / name)
    store.index.check_rows(drop=True)
    return existing


def _remove(store: Store, place: Path) -> None:
    """Take an item out of the store before its content goes: an interruption leaves no part."""
    gone = store.scratch / f"damaged-{secrets.token_hex(8)}"
    place.rename(gone)
    remove_tree(gone)


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


def _snapshots(store: Store, *, deep: bool) -> Iterator[Problem]:
    for place in sorted((store.root / "snapshots").iterdir()):
        what = _state_of(store, place) or (_content_of(place) if deep else "")
        if what:
            yield Problem(kind="snapshot", name=place.name, what=what, place=place)


def _state_of(store: Store, place: Path) -> str:
    if not (place / "fs").is_dir():
        return "" if read_promise(place) is not None else "has no files"
    if store.snapshots.is_complete(place.name):
        return ""
    mark = (place / "boot").read_text(errors="replace")
    if mark.startswith(DAMAGED):
        return f"does not match its manifest: {mark.removeprefix(DAMAGED)}"
    return "was not completely on disk when the machine stopped"


def _content_of(place: Path) -> str:
    """How a snapshot differs from its manifest, or nothing."""
    try:
        entries = manifest.read_manifest(place / manifest.NAME)
    except manifest.DamagedManifest:
        return "cannot be verified: its manifest is damaged"
    if entries is None:
        return ""
    found = list(itertools.islice(manifest.differences(place / "fs", entries), _SHOWN + 1))
    more = ", and more" if len(found) > _SHOWN else ""
    return f"does not match its manifest: {'; '.join(found[:_SHOWN])}{more}" if found else ""


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
