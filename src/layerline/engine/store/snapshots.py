"""Finished layers: named directories that overlayfs can mount.

Invariant: a snapshot appears by one rename and never changes. It carries the id of this boot until
its files are known to be on disk; after a power cut, under another boot id, it counts as absent.
One that is only promised (`promise.py`) has no files yet: they are fetched when its path is asked.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.store.devices import list_stand_ins
from layerline.engine.store.disk_errors import Demand, is_disk_failure, storage_error
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.manifest import NAME as MANIFEST
from layerline.engine.store.manifest import sample_differs
from layerline.engine.store.manifest_writer import ManifestWriter
from layerline.engine.store.promise import Promise, read_promise, write_promise
from layerline.engine.store.rmtree import discard_tree, remove_tree
from layerline.engine.store.usage import Sizes
from layerline.kernel import sync_directory, sync_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from layerline.engine.store.promise import Supplier
    from layerline.errors import LayerlineError

_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,199}")
_BATCH_SECONDS = 0.2
_SAMPLE = 4  # entries that the first use in a session compares
DAMAGED = "damaged: "


@dataclass(slots=True)
class Draft:
    """An unfinished layer: fill `fs`, then commit."""

    snapshots: Snapshots
    place: Path

    @property
    def fs(self) -> Path:
        """The directory to fill."""
        return self.place / "fs"

    @property
    def work(self) -> Path:
        """The work directory that overlayfs needs on the same file system."""
        return self.place / "work"

    def commit(self, name: str, known: Mapping[str, str] | None = None) -> str:
        """Store it as the snapshot `name`; if that exists already, the draft is discarded.

        `known` are SHA-256 digests of files by path, which need not be read for the manifest.
        """
        return self.snapshots.adopt(self, name, known)


class Snapshots:
    """The finished snapshots in `root`.

    Drafts are in `scratch`, on the same file system. `boot` identifies this boot of the machine.
    """

    def __init__(self, root: Path, scratch: Path, boot: str) -> None:
        self._root = root
        self._scratch = scratch
        self._boot = boot
        self.supplier: Supplier | None = None
        self._manifests = ManifestWriter(root)
        self._sound: set[str] = set()
        self._damaged: set[str] = set()
        self._numbers = itertools.count(1)
        self._pending: list[str] = []
        self._used: set[str] = set()
        self._failure: LayerlineError | None = None
        self._mutex = threading.Lock()
        self._syncing = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def has(self, name: str) -> bool:
        """Whether the snapshot exists and is intact, or can be fetched.

        Its first use compares a sample of it.
        """
        if self.is_complete(name):
            return self._is_sound(name)
        return self.promised(name) is not None

    def is_here(self, name: str) -> bool:
        """Whether the files of the snapshot are in the store."""
        return (self._place(name) / "fs").is_dir()

    def promised(self, name: str) -> Promise | None:
        """What is known of a snapshot whose files can be fetched and are not here yet."""
        if self.supplier is None or self.is_here(name):
            return None
        promise = read_promise(self._place(name))
        if promise is None or not all(map(self.supplier.has, promise.blobs)):
            return None
        return promise

    def promise(self, name: str, promise: Promise) -> None:
        """Have the files of a snapshot fetched when they are needed, unless it exists."""
        if self.has(name):
            return
        draft = self._scratch / f"promise-{next(self._numbers)}"
        write_promise(draft, promise)
        place = self._place(name)
        try:
            while not self._takes(place, draft):
                if self.has(name):  # another process was first
                    return
                self._set_aside(place)
        finally:
            discard_tree(draft)

    def require(self, names: Iterable[str]) -> None:
        """Fetch the files of those snapshots that are only promised, several at a time."""
        promised = [name for name in dict.fromkeys(names) if not self.is_here(name)]
        found = [(name, promise) for name in promised if (promise := self.promised(name))]
        if found and self.supplier is not None:
            self.supplier.supply(found)

    def is_complete(self, name: str) -> bool:
        """Whether the snapshot is known to be on disk, and not known to be damaged."""
        place = self._place(name)
        try:
            return (place / "boot").read_text() == self._boot
        except FileNotFoundError:
            return (place / "fs").is_dir()

    def _is_sound(self, name: str) -> bool:
        if name in self._sound:
            return True
        if name in self._damaged:
            return False
        place = self._place(name)
        damage = sample_differs(place, _SAMPLE)
        if damage is None:
            if not (place / MANIFEST).exists():
                self._manifests.start()
            self._sound.add(name)
            return True
        self.mark_damaged(name, damage)
        return False

    def mark_damaged(self, name: str, damage: str) -> None:
        """Count the snapshot as absent from now on: what needs it is made again."""
        log.debug("the snapshot %s is damaged: %s", name, damage)
        self._sound.discard(name)
        self._damaged.add(name)
        with contextlib.suppress(OSError):  # a read-only disk: the next session finds it again
            (self._place(name) / "boot").write_text(f"{DAMAGED}{damage}")

    def path(self, name: str) -> Path:
        """The directory that holds the layer."""
        place = self._place(name)
        self.use([name])
        self.require([name])
        return place / "fs"

    @property
    def used(self) -> frozenset[str]:
        """The snapshots that this session has used or made."""
        return frozenset(self._used)

    def use(self, names: Iterable[str]) -> None:
        """Record the use of snapshots; `close` writes it to the times of their directories."""
        self._used.update(names)

    @contextlib.contextmanager
    def draft(self, what: str = "a layer", *, needed: int | None = None) -> Iterator[Draft]:
        """Yield an empty layer to fill; it is discarded unless it is committed.

        `what` it is and the bytes that it needs are for the error of a full disk.
        """
        place = self._scratch / f"draft-{next(self._numbers)}"
        try:
            (place / "fs").mkdir(parents=True)
            (place / "fs").chmod(0o755)
            os.utime(place / "fs", (EPOCH, EPOCH))
            (place / "work").mkdir()
            yield Draft(self, place)
        except OSError as exc:
            if not is_disk_failure(exc):
                raise
            demand = Demand(needed=needed, written=Sizes().of(place))
            raise storage_error(exc, f"failed to write {what}", self._root, demand) from exc
        finally:
            discard_tree(place)

    def adopt(self, draft: Draft, name: str, known: Mapping[str, str] | None = None) -> str:
        """Store a draft under a name."""
        place = self._place(name)
        remove_tree(draft.work)
        list_stand_ins(draft.fs)
        (draft.place / "boot").write_text(self._boot)
        while not self._takes(place, draft.place):
            if self.is_here(name) and self.has(name):
                return name
            self._set_aside(place)
        self._damaged.discard(name)
        self._sound.add(name)
        self._used.add(name)
        self._manifests.add(name, known)
        self._later(name)
        return name

    def settle(self) -> None:
        """Wait until every snapshot committed so far is on disk."""
        self._sync()
        with self._mutex:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def record(self, name: str) -> None:
        """Write the manifest of a snapshot that has none."""
        self._manifests.write(name)

    def abandon(self) -> None:
        """Leave what is not verified yet to later sessions."""
        self._manifests.abandon()

    def close(self) -> None:
        """Settle, and stop the threads."""
        self._manifests.close()
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for name in tuple(self._used):
            with contextlib.suppress(OSError):  # only a hint for pruning
                os.utime(self._place(name))
        self.settle()

    def _place(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            message = f"invalid snapshot name {name!r}"
            raise ValueError(message)
        return self._root / name

    @staticmethod
    def _takes(place: Path, unfinished: Path) -> bool:
        """Give a directory its name; False if another one has it, or had it just now."""
        try:
            unfinished.rename(place)
        except OSError as exc:
            if exc.errno not in _TAKEN and not place.is_dir():
                raise
            return False
        return True

    def _set_aside(self, place: Path) -> None:
        aside = self._scratch / f"lost-{next(self._numbers)}"
        self._manifests.forget_files()
        with contextlib.suppress(FileNotFoundError):  # another process was first
            place.rename(aside)
        discard_tree(aside)

    def _later(self, name: str) -> None:
        with self._mutex:
            self._pending.append(name)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="store-sync", daemon=True)
                self._thread.start()
        self._wake.set()

    def _serve(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._closed.wait(_BATCH_SECONDS)
            self._wake.clear()
            self._sync()

    def _sync(self) -> None:
        """Flush the pending snapshots to disk, then remove their boot ids, durably."""
        with self._syncing:
            with self._mutex:
                names, self._pending = self._pending, []
            if not names:
                return
            try:
                sync_filesystem(self._root)
                for name in names:
                    (self._place(name) / "boot").unlink(missing_ok=True)
                for name in names:
                    sync_directory(self._place(name))
            except OSError as exc:
                self._distrust(names, exc)

    def _distrust(self, names: list[str], exc: OSError) -> None:
        """Mark snapshots as lost: after a failed sync, a later success proves nothing."""
        for name in names:
            with contextlib.suppress(OSError):  # absent from the next boot on
                (self._place(name) / "boot").write_text("lost")
        with self._mutex:
            self._failure = storage_error(exc, "failed to sync layers to disk", self._root)
