"""Snapshots and blobs that are known but not here: somebody can supply their bytes.

A promised snapshot is a directory in its place with one file, which says from what blob its files
come. Without a supplier, or once it has failed to deliver, a promise counts as absent.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from layerline.engine.store.digest import Digest, parse_digest
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROMISE = "promise.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The blob of a layer, and its tar's digest; `below` are the snapshots under it.

    The snapshot is the directory `within` the layer, a relative path, or all of it. With `contents`
    its files are links to those of that layer.
    """

    digest: Digest
    size: int
    diff_id: Digest
    media_type: str
    below: tuple[str, ...] = ()
    within: str = ""
    contents: Promise | None = None

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """What has to be fetched."""
        return (self.digest, *(() if self.contents is None else self.contents.blobs))


class Supplier(Protocol):
    """Fetches what was promised."""

    def has(self, digest: Digest) -> bool:
        """Whether a blob can be had, as far as is known."""

    def fetch(self, digest: Digest) -> None:
        """Put a blob into the store. Raises NotFetched; the blob counts as absent from then on."""

    def supply(self, wanted: Sequence[tuple[str, Promise]]) -> None:
        """Put snapshots into the store. Raises NotFetched, as `fetch` does."""


def write_promise(place: Path, promise: Promise) -> None:
    """Create the directory of a promised snapshot."""
    place.mkdir(parents=True)
    (place / PROMISE).write_text(json.dumps(asdict(promise)))


def read_promise(place: Path) -> Promise | None:
    """The promise in the directory of a snapshot; None without one, or if it is damaged."""
    try:
        return _promise(json.loads((place / PROMISE).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, ArchiveInvalid):
        return None


def _promise(document: dict[str, Any]) -> Promise:
    digest = parse_digest(str(document["digest"]))  # TypeError for a list
    contents = document.get("contents")
    return Promise(
        digest=digest,
        size=int(document["size"]),
        diff_id=parse_digest(str(document["diff_id"])),
        media_type=str(document["media_type"]),
        below=tuple(map(str, document["below"])),
        within=str(document.get("within", "")),
        contents=None if contents is None else _promise(contents),
    )
