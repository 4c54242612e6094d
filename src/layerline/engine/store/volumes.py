"""Cache volumes: mutable directories whose content is in no key.

Invariant: an identity is data, never a path: it is stored under its digest. The lock of a volume is
outside it.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.store.digest import canonical, digest_of
from layerline.engine.store.disk_errors import disk_errors
from layerline.engine.store.rmtree import discard_tree
from layerline.engine.store.usage import USES
from layerline.kernel import sync_directory, sync_filesystem

if TYPE_CHECKING:
    import contextlib
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from layerline.engine.store.locks import Locks


@dataclass(frozen=True, slots=True)
class Volumes:
    """The volumes in `root`. Unfinished ones are in `scratch`, on the same file system."""

    root: Path
    scratch: Path
    locks: Locks
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def volume(
        self,
        identity: str,
        *,
        seed: Callable[[Path], None] | None = None,
        owner: tuple[int, int] = (0, 0),
        mode: int = 0o755,
    ) -> Path:
        """The directory of a volume; a new one appears once `seed` has filled it."""
        place = self.root / digest_of(identity)
        with disk_errors(f"failed to create the cache volume {identity!r}", self.root):
            if not place.is_dir():
                with self.locks.exclusive(f"new volume {identity}"):
                    if not place.is_dir():
                        self._make(place, identity, seed, owner, mode)
            _count_use(place)
        return place / "data"

    def lock(
        self, identity: str, *, timeout: float | None = None, cancel: threading.Event | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Hold the volume exclusively among all sessions of this store."""
        return self.locks.exclusive(f"volume {identity}", timeout, cancel)

    def _make(
        self,
        place: Path,
        identity: str,
        seed: Callable[[Path], None] | None,
        owner: tuple[int, int],
        mode: int,
    ) -> None:
        part = self.scratch / f"volume-{next(self._numbers)}"
        data = part / "data"
        try:
            data.mkdir(parents=True)
            (part / "identity.json").write_bytes(canonical(identity))
            if seed is not None:
                seed(data)
            os.chown(data, *owner)
            data.chmod(mode)
            sync_filesystem(self.root)
            part.rename(place)
            sync_directory(self.root)
        finally:
            discard_tree(part)


def _count_use(place: Path) -> None:
    with (place / USES).open("ab", buffering=0) as file:
        file.write(b".")
