"""Sends records in the background, with the blobs that the repository lacks.

Invariant: the work that is recorded never waits for it. A blob is sent before the record that names
it, so a record never names what is missing.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.cache.adoption import keeps_name
from layerline.engine.cache.artifact import MANIFEST, artifact_of, used_now
from layerline.engine.cache.record import Record, SharedLayer, tag_of
from layerline.engine.cache.secret_search import holds_any, secret_lines
from layerline.engine.image.manifests import FAMILIES, MediaTypes
from layerline.engine.image.pack import layer_blob, pack
from layerline.engine.store.blobs import CHUNK
from layerline.engine.store.cancellation import cancelled_by
from layerline.errors import ImageError, LayerlineError, RegistryTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from layerline.engine.cache.place import Place
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.index import Document
    from layerline.engine.store.store import Store

_THREADS = 2
_NICENESS = 10
_TYPES = FAMILIES[MediaTypes.OCI].layers
_MOST_FAILURES = 3
_GIVE_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A row to send: its snapshots, bottom first, and the outputs and documents that it names.

    It is not sent if one of the `secrets` is in a file, or one of the forms that are `masked` in an
    output. With `replaces` it is sent although the repository had the key at the begin of the
    session.
    """

    table: str
    key: str
    row: Document
    snapshots: Sequence[str] = ()
    needs: tuple[str, ...] = ()
    blobs: Sequence[Digest] = ()
    documents: tuple[str, ...] = ()
    secrets: frozenset[bytes] = frozenset()
    masked: frozenset[bytes] = frozenset()
    replaces: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A record of the repository that was used; `manifest` is what it has under the tag."""

    tag: str
    manifest: bytes


@dataclass(slots=True, kw_only=True, eq=False)
class Sender:
    """Threads that send to one repository. `seal` puts a payload into its envelope."""

    store: Store
    place: Place
    epoch: int | None
    seal: Callable[[bytes], bytes]
    sent: int = 0
    sent_bytes: int = 0
    _waiting: deque[Outgoing | Use] = field(default_factory=deque)
    _under_way: int = 0
    _failures: int = 0
    _closed: bool = False
    _searched: dict[tuple[str, frozenset[bytes]], bool] = field(default_factory=dict)
    _cancel: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)

    def add(self, outgoing: Outgoing | Use) -> None:
        """Have a row sent, unless sending has failed."""
        with self._changed:
            if self._closed or not self.place.is_usable:
                return
            self._waiting.append(outgoing)
            self._changed.notify()
            if len(self._threads) < _THREADS:
                name = f"cache-send-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    @property
    def left(self) -> int:
        """How many records are not sent yet."""
        with self._changed:
            return len(self._waiting) + self._under_way

    def drop(self) -> None:
        """Send no more, and end what is under way."""
        self._cancel.set()
        with self._changed:
            self._waiting.clear()

    def finish(self) -> None:
        """Wait until everything is sent, or sending has failed.

        After `drop` a registry that does not answer is not waited for.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_GIVE_UP_SECONDS if self._cancel.is_set() else None)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (outgoing := self._next()) is not None:
            try:
                with cancelled_by(self._cancel):
                    if isinstance(outgoing, Use):
                        self._refresh(outgoing)
                    else:
                        self._send(outgoing)
            except ImageError as exc:
                self._fail(exc)
            except LayerlineError as exc:  # a snapshot that is damaged: it is made again
                log.debug("not sent to the cache: %s", exc)
            except Exception as exc:
                if not self._cancel.is_set():
                    raise
                log.debug("sending was given up: %s", exc)
            finally:
                with self._changed:
                    self._under_way -= 1

    def _next(self) -> Outgoing | Use | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._under_way += 1
            return self._waiting.popleft()

    def _fail(self, exc: ImageError) -> None:
        """One more failure; after several nothing is sent any more."""
        with self._changed:
            self._failures += 1
            if self._failures < _MOST_FAILURES and not isinstance(exc, RegistryTimeout):
                self.place.say(f"not everything was sent to the cache {self.place.name}: {exc}")
                return
            self._waiting.clear()
        self.place.fail(exc)

    def _refresh(self, use: Use) -> None:
        data = used_now(use.manifest, int(time.time()))
        self.place.written.put_manifest(use.tag, data, MANIFEST)

    def _send(self, outgoing: Outgoing) -> None:
        tag = tag_of(outgoing.table, outgoing.key, self.epoch)
        if not outgoing.replaces and tag in (self.place.tags() or ()):
            return
        if self._holds(outgoing):
            log.debug("not sent to the cache: a secret is in what %s gave", outgoing.key)
            return
        record = self._record(outgoing)
        image = artifact_of(record, self.seal(record.payload()))
        repository = self.place.written
        there = replace(repository, reference=replace(repository.reference, tag=tag))
        there.push(self.store, image, known=self.place.blobs)
        fresh = [layer for layer in image.layers if layer.digest not in self.place.blobs]
        self.place.blobs.update(layer.digest for layer in fresh)
        with self._changed:
            self._failures = 0
            self.sent += 1
            self.sent_bytes += sum(layer.size for layer in fresh)

    def _holds(self, outgoing: Outgoing) -> bool:
        """Whether a secret is in an output, or in a file that no image or import brought."""
        for digest in outgoing.blobs if outgoing.masked else ():
            if holds_any(self._chunks(digest), outgoing.masked):
                return True
        if not outgoing.secrets:
            return False
        lines = secret_lines(outgoing.secrets)
        for name in outgoing.snapshots:
            if (name, lines) not in self._searched and not keeps_name(name):
                files = pack(self.store.snapshots.path(name))
                self._searched[name, lines] = holds_any(files, lines)
        return any(self._searched.get((name, lines)) for name in outgoing.snapshots)

    def _chunks(self, digest: Digest) -> Iterator[bytes]:
        with self.store.blobs.open(digest) as file:
            yield from iter(lambda: file.read(CHUNK), b"")

    def _record(self, outgoing: Outgoing) -> Record:
        return Record(
            table=outgoing.table,
            key=outgoing.key,
            row=outgoing.row,
            layers={name: self._layer(name) for name in outgoing.snapshots},
            needs=outgoing.needs,
            blobs={digest: self.store.blobs.size(digest) for digest in outgoing.blobs},
            documents=outgoing.documents,
            repository=self.place.repository.reference.repository,
            made=int(time.time()),
        )

    def _layer(self, name: str) -> SharedLayer:
        blob = layer_blob(self.store, name, epoch=self.epoch)
        return SharedLayer(
            digest=blob.digest,
            size=blob.size,
            diff_id=blob.diff_id,
            media_type=_TYPES[blob.compression],
        )
