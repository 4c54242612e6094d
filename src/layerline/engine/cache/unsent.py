"""What a session still has to send: how many results, and how many bytes at most."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.errors import LayerlineError
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from layerline.engine.cache.outgoing import Outgoing
    from layerline.engine.cache.shared_layers import SharedLayers


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """Records that are not sent yet, `bytes` at most.

    What is not packed counts with the size of its files, and what is on its way as all of it.
    """

    results: int
    bytes: int

    @classmethod
    def of(
        cls,
        rows: Collection[Outgoing],
        layers: SharedLayers,
        blobs: Collection[str],
        snapshots: Collection[str],
    ) -> Unsent:
        """The rest of a session; the repository is known to have the `blobs` and `snapshots`."""
        sizes: dict[str, int] = {}
        for row in rows:
            with contextlib.suppress(LayerlineError, OSError):  # it is damaged, and not sent
                for name in row.snapshots:
                    if name not in snapshots:
                        sizes.update(_sizes(layers, name, has_forms=row.has_forms))
                sizes.update((digest, layers.store.blobs.size(digest)) for digest in row.blobs)
        total = sum(size for name, size in sizes.items() if name not in blobs)
        return cls(results=len(rows), bytes=total)

    def __str__(self) -> str:
        """As a message says it."""
        size = f", up to {format_size(self.bytes)}," if self.bytes else ""
        return f"{format_results(self.results)}{size}"


def format_results(number: int) -> str:
    """A number of results as messages say it."""
    return f"{number} result{'' if number == 1 else 's'}"


def _sizes(layers: SharedLayers, name: str, *, has_forms: bool) -> Iterator[tuple[str, int]]:
    yield layers.size_of(name)
    form = layers.size_of_form(name) if has_forms else None
    if form is not None:
        yield form


def wanted(rows: Iterable[Outgoing], used: Collection[str]) -> list[Outgoing]:
    """The rows that are sent at the end: no arrangement of files that others were made from."""
    return [row for row in rows if not (row.is_arrangement and not set(row.keys).isdisjoint(used))]
