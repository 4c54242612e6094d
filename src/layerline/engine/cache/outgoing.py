"""Sends records in the background, with the blobs that the repository lacks.

Invariant: the work that is recorded never waits for it. A blob is sent before the record that names
it, so a record never names what is missing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.cache.adoption import keeps_name
from layerline.engine.cache.artifact import MANIFEST, artifact_of, used_now
from layerline.engine.cache.deferred import Deferred
from layerline.engine.cache.pulse import Pulse
from layerline.engine.cache.record import Record, SharedLayer, tag_of
from layerline.engine.cache.secret_search import holds_any, secret_lines
from layerline.engine.cache.unsent import Unsent, wanted
from layerline.engine.image.pack import pack
from layerline.engine.store.blobs import CHUNK
from layerline.engine.store.cancellation import cancelled_by
from layerline.engine.store.digest import digest_of
from layerline.errors import ImageError, LayerlineError, RegistryTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from layerline.engine.cache.place import Place
    from layerline.engine.cache.placement import Placement
    from layerline.engine.cache.shared_layers import SharedLayers
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.reference import Reference
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.index import Document
    from layerline.engine.store.store import Store

_THREADS = 4
_MOST_FAILURES = 3
_GIVE_UP_SECONDS = 1.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A row to send under its keys: its snapshots, bottom first, and its outputs and documents.

    It waits until the files of its `sources`, trees given by their snapshots, have a place in a
    layer of an image, or for the end. An arrangement of files that others were made from is sent
    only if it has one, and then as that place. With `has_forms` imported snapshots are sent in the
    form of images, too. It is not sent if one of the `secrets` is in a file, or one of the forms
    that are `masked` in an output. With `replaces` it is sent although the repository had the key
    at the begin of the session.
    """

    table: str
    keys: Sequence[str]
    row: Document
    snapshots: Sequence[str] = ()
    sources: frozenset[tuple[str, ...]] = frozenset()
    is_arrangement: bool = False
    has_forms: bool = False
    places: Mapping[str, SharedLayer] = field(default_factory=dict)
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
    """Threads that send to one repository. `seal` puts a payload into its envelope.

    `on_end` is called once a row was sent or was given up, but not after `drop`. The threads have
    an ordinary priority: one of a low priority that waits for the processor while it holds Python's
    lock lets all threads of the session wait.
    """

    store: Store
    place: Place
    layers: SharedLayers
    seal: Callable[[bytes], bytes]
    on_end: Callable[[Outgoing], None]
    pulse: Pulse = field(default_factory=Pulse)
    sent: int = 0
    sent_bytes: int = 0
    _waiting: deque[Outgoing | Use] = field(default_factory=deque)
    _deferred: Deferred = field(default_factory=Deferred)
    _used: set[str] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    _sources: tuple[Reference, ...] = ()
    _turns: dict[Digest, threading.Lock] = field(default_factory=dict)
    _under_way: list[Outgoing | Use] = field(default_factory=list)
    _failures: int = 0
    _closed: bool = False
    _searched: dict[tuple[str, frozenset[bytes]], bool] = field(default_factory=dict)
    _cancel: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)

    def add(self, outgoing: Outgoing | Use) -> bool:
        """Have a row sent, unless sending has failed; whether it will be."""
        with self._changed:
            if self._closed or not self.place.is_usable:
                return False
            if isinstance(outgoing, Outgoing) and self._is_known(outgoing):
                self._known.update(outgoing.snapshots)
                return False
            if isinstance(outgoing, Outgoing) and not self._is_ready(outgoing):
                self._deferred.add(outgoing)
            else:
                self._waiting.append(outgoing)
            self._changed.notify_all()  # any of the threads may look after what is deferred
            if len(self._threads) < _THREADS:
                name = f"cache-send-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return True

    def place_source(self, names: tuple[str, ...], placement: Placement) -> None:
        """The files of a tree have a place in a layer: send the rows that wait for it."""
        self.layers.place(names, placement)
        self._send_ready()

    def merge(self, name: str, layer: str) -> None:
        """The files of a snapshot are in a layer with others: send the rows that wait for it."""
        self.layers.merge(name, layer)
        self._send_ready()

    def _send_ready(self) -> None:
        with self._changed:
            ready = self._deferred.take(self._is_ready)
        for each in ready:
            self.add(each)

    def send_deferred(self) -> None:
        """Send what waits for a place in others, but no arrangements of files."""
        with self._changed:
            for each in self._deferred.take(lambda row: not row.is_arrangement):
                self.add(replace(each, sources=frozenset()))

    def use(self, keys: Iterable[str]) -> None:
        """Another row that is sent was made from the results of these keys."""
        with self._changed:
            self._used.update(keys)

    def turn(self, digest: Digest) -> threading.Lock:
        """What is held while a blob is sent to this registry."""
        with self._changed:
            return self._turns.setdefault(digest, threading.Lock())

    def mount_from(self, reference: Reference) -> None:
        """An image is published with blobs that are sent, too."""
        self._sources = (reference, *self._sources)

    def _is_known(self, outgoing: Outgoing) -> bool:
        """Whether the repository is known to have a row, without a wait for that."""
        return self.place.listing.done() and not self._missing(outgoing)

    def _missing(self, outgoing: Outgoing) -> dict[str, str]:
        """The keys of a row that have to be sent, with their tags."""
        there = () if outgoing.replaces else self.place.tags() or ()
        tags = {key: tag_of(outgoing.table, key, self.layers.epoch) for key in outgoing.keys}
        return {key: tag for key, tag in tags.items() if tag not in there}

    def _is_ready(self, outgoing: Outgoing) -> bool:
        return all(map(self.layers.has_place, outgoing.sources))

    @property
    def left(self) -> int:
        """How many records are not sent yet."""
        with self._changed:
            return len(self._waiting) + len(self._deferred) + len(self._under_way)

    def unsent(self) -> Unsent:
        """What is left to send."""
        with self._changed:
            rows = [row for row in (*self._waiting, *self._under_way) if isinstance(row, Outgoing)]
            rows += wanted(self._deferred.rows, self._used)
            snapshots, blobs = set(self._known), set(self.place.blobs)
        return Unsent.of(rows, self.layers, blobs, snapshots)

    def drop(self) -> None:
        """Send no more, and end what is under way."""
        self._cancel.set()
        with self._changed:
            self._waiting.clear()
            self._deferred.take()

    def finish(self) -> None:
        """Wait until everything is sent, or sending has failed.

        A registry that takes nothing any more is not waited for, nor any after `drop`.
        """
        self.send_deferred()
        with self._changed:
            used = self._deferred.take(lambda row: not self._used.isdisjoint(row.keys))
            for each in self._deferred.take():
                self.add(replace(each, sources=frozenset(), is_arrangement=False))
            self._closed = True
            self._changed.notify_all()
        for each in used:
            self.on_end(each)
        while not self._cancel.is_set() and any(each.is_alive() for each in self._threads):
            with self._changed:
                self._changed.wait(_LOOK_SECONDS)
                under_way = len(self._under_way)
            if self.pulse.has_stopped(under_way):
                self.place.fail(RegistryTimeout("it takes nothing of what is sent"))
                self.drop()
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        for thread in self._threads:
            rest = max(0.0, deadline - time.monotonic())
            thread.join(rest if self._cancel.is_set() else None)

    def _serve(self) -> None:
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
                    self._under_way.remove(outgoing)
                    self._changed.notify_all()
                if isinstance(outgoing, Outgoing):
                    self.on_end(outgoing)

    def _next(self) -> Outgoing | Use | None:
        with self._changed:
            while not (self._waiting or self._closed):
                self._changed.wait(self._deferred.seconds())
                for each in self._deferred.take_due():
                    self.add(replace(each, sources=frozenset()))
            if not self._waiting:
                return None
            self._under_way.append(self._waiting.popleft())
            return self._under_way[-1]

    def _fail(self, exc: ImageError) -> None:
        """One more failure; after several nothing is sent any more."""
        with self._changed:
            self._failures += 1
            if self._failures < _MOST_FAILURES and not isinstance(exc, RegistryTimeout):
                self.place.say(f"not everything was sent to the cache {self.place.name}: {exc}")
                return
            dropped = [each for each in self._waiting if isinstance(each, Outgoing)]
            dropped += self._deferred.take()
            self._waiting.clear()
        self.place.fail(exc)
        for each in dropped:
            self.on_end(each)

    def _refresh(self, use: Use) -> None:
        data = used_now(use.manifest, int(time.time()))
        with self.pulse.sending():
            self.place.written.put_manifest(use.tag, data, MANIFEST)

    def _send(self, outgoing: Outgoing) -> None:
        tags = self._missing(outgoing)
        if not tags:
            return
        if self._holds(outgoing):
            log.debug("not sent to the cache: a secret is in what %s gave", outgoing.keys)
            return
        placed = self._placed(outgoing)
        if placed is None:
            log.debug("not sent to the cache: the files of %s are in no image", outgoing.keys)
            return
        record = self._record(placed, next(iter(tags)))
        for key, tag in tags.items():
            self._push(replace(record, key=key), tag)
        with self._changed:
            self.sent += 1

    def _placed(self, outgoing: Outgoing) -> Outgoing | None:
        """A row with one snapshot for a source with several; None for files without a place."""
        if not outgoing.is_arrangement:
            return outgoing
        (names,) = outgoing.sources
        layer = self.layers.place_of(names)
        if layer is None:
            return None
        name = f"tree-{digest_of(list(names))}"
        row = {**outgoing.row, "layers": [name]}
        return replace(outgoing, row=row, snapshots=(), places={name: layer})

    def _push(self, record: Record, tag: str) -> None:
        image = artifact_of(record, self.seal(record.payload()))
        repository = self.place.written
        there = replace(repository, reference=replace(repository.reference, tag=tag))
        with self.pulse.sending():
            for blob in image.layers:
                self._push_blob(blob)
                self.pulse.beat()
            there.push(self.store, image, known=self.place.blobs, is_new=True)
        with self._changed:
            self._failures = 0

    def _push_blob(self, blob: Descriptor) -> None:
        """Send a blob that the repository lacks; of two threads with the same one, the first."""
        with self.turn(blob.digest):
            if blob.digest in self.place.blobs:
                return
            written, watch = self.place.written, self.pulse.beat
            if written.push_layer(self.store, blob, self._sources, watch=watch):
                with self._changed:
                    self.sent_bytes += blob.size
            self.place.blobs.add(blob.digest)

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

    def _record(self, outgoing: Outgoing, key: str) -> Record:
        names = outgoing.snapshots
        forms = {name: self.layers.form_of(name) for name in names if outgoing.has_forms}
        return Record(
            table=outgoing.table,
            key=key,
            row=outgoing.row,
            layers=outgoing.places or {name: self.layers.layer(name) for name in names},
            forms={name: form for name, form in forms.items() if form is not None},
            needs=outgoing.needs,
            blobs={digest: self.store.blobs.size(digest) for digest in outgoing.blobs},
            documents=outgoing.documents,
            repository=self.place.repository.reference.repository,
            made=int(time.time()),
        )
