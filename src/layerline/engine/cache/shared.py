"""The cache of a session: rows that other machines have recorded, and rows offered to them.

A record that cannot be read, verified or used is a miss.
"""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx

from layerline.engine.cache.adoption import adopt_record
from layerline.engine.cache.envelope import RECORD, Envelope, parse_envelope
from layerline.engine.cache.lease import Lease, parse_lease
from layerline.engine.cache.lease_tag import LeaseTags
from layerline.engine.cache.leases import Leases, Wanted
from layerline.engine.cache.outgoing import Outgoing, Sender, Use
from layerline.engine.cache.place import Place
from layerline.engine.cache.record import parse_record, tag_of
from layerline.engine.cache.shared_layers import SharedLayers
from layerline.engine.cache.supply import RegistrySupplier
from layerline.engine.cache.unsent import format_results
from layerline.engine.image.manifests import Compression
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Credentials
from layerline.errors import ArchiveInvalid
from layerline.log import Status
from layerline.quantities import format_size
from layerline.signing import Signing

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence

    from layerline.engine.cache.placement import Placement
    from layerline.engine.cache.record import Record
    from layerline.engine.cache.trust import Trust, Verifier
    from layerline.engine.cache.unsent import Unsent
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.store import Store
    from layerline.log import Journal
    from layerline.settings import Settings

# A registry that does not answer costs this once; what is sent delays nobody.
_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
_PATIENCE = httpx.Timeout(20.0, connect=3.0)
_TRIES = 2


@dataclass(slots=True, kw_only=True, eq=False)
class SharedCache:
    """The repositories of a session's cache. Threads share it."""

    store: Store
    settings: Settings
    journal: Journal
    places: Sequence[Place]
    trust: Trust | None = None
    supplier: RegistrySupplier = field(init=False)
    sender: Sender | None = field(init=False)
    leases: Leases | None = field(init=False)

    def __post_init__(self) -> None:
        """The store fetches what records promise from now on."""
        self.supplier = RegistrySupplier(store=self.store, places=self.places)
        self.store.supply(self.supplier)
        self.sender = self.leases = None
        if self.settings.cache.writes and self.places:
            layers = SharedLayers(store=self.store, zstd=self.settings.zstd, epoch=self._epoch)
            self.sender = Sender(
                store=self.store,
                place=self.places[0],
                layers=layers,
                seal=self._seal,
                on_end=self._end_sent,
            )
            self.leases = self._leases(self.places[0], self.sender.send_deferred)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, store: Store, settings: Settings, journal: Journal
    ) -> Iterator[SharedCache | None]:
        """The cache for the length of the block, if the user has set one.

        At the end of the block what is left is dropped: call `finish` before.
        """
        if not settings.cache.places:
            yield None
            return

        def report(message: str) -> None:
            journal.step(message).end(Status.CANCELED)

        logins = Credentials.of(settings)
        quick = Registries(
            settings=settings, credentials=logins, timeout=_TIMEOUT, most_tries=_TRIES
        )
        patient = Registries(
            settings=settings, credentials=logins, timeout=_PATIENCE, most_tries=_TRIES
        )
        with contextlib.closing(quick), contextlib.closing(patient):
            references = map(Reference.parse, settings.cache.places)
            places = [
                Place(
                    name=reference.name,
                    repository=quick.registry(reference),
                    written=patient.registry(reference),
                    report=report,
                )
                for reference in references
            ]
            trust = _trust(settings.signing)
            cache = cls(store=store, settings=settings, journal=journal, places=places, trust=trust)
            try:
                yield cache
            finally:
                cache.drop()
                cache.close()

    def find(self, table: str, key: str) -> bool:
        """Look for a key; whether the store's index has its row now."""
        tag = tag_of(table, key, self._epoch)
        return any(
            self._find_in(place, tag, table, key) for place in self.places if place.may_have(tag)
        )

    def offer(self, outgoing: Outgoing) -> None:
        """Have a row sent, if the user shares results and nothing of it is secret."""
        if self.sender is None:
            return
        if self.leases is not None:
            self.leases.keep(self._tags(outgoing))
        if not self.sender.add(outgoing):
            self._end_sent(outgoing)

    def wait_lease(
        self,
        table: str,
        key: str,
        name: str,
        below: Collection[str],
        prepare: Callable[[], None],
        cancel: threading.Event,
    ) -> bool:
        """Wait while another machine builds a key; whether the store's index has its row now.

        If not, call `end_lease` after the build. `name` is that of the step, `below` are the keys
        that it is made from, `prepare` begins what the build needs. Raises Cancelled.
        """
        if self.leases is None or not self.places[0].is_usable:
            return False
        place, tag = self.places[0], tag_of(table, key, self._epoch)
        wanted = Wanted(
            tag=tag,
            name=name,
            look=lambda: place.is_usable and self._find_in(place, tag, table, key),
            below=[tag_of(table, each, self._epoch) for each in below],
            prepare=prepare,
        )
        return self.leases.wait(wanted, cancel)

    def end_lease(self, table: str, key: str) -> None:
        """Let other machines build a key, unless its record is being sent."""
        if self.leases is not None:
            self.leases.end(tag_of(table, key, self._epoch))

    def place_source(self, names: tuple[str, ...], placement: Placement) -> None:
        """The files of a tree have a place in the layer of an image."""
        if self.sender is not None:
            self.sender.place_source(names, placement)

    def merge(self, name: str, layer: str) -> None:
        """The files of a snapshot are in the layer of an image, with others."""
        if self.sender is not None:
            self.sender.merge(name, layer)

    def use(self, keys: Iterable[str]) -> None:
        """What is sent was made from the results of these keys."""
        if self.sender is not None:
            self.sender.use(keys)

    def prefer(self, form: Compression | None) -> None:
        """Send layers as they are in an image that is published; None for the API's default."""
        if self.sender is not None:
            self.sender.layers.prefer(form or Compression.GZIP)

    def turns_at(
        self, reference: Reference
    ) -> Callable[[Digest], contextlib.AbstractContextManager[object]]:
        """What to hold while a layer of an image is sent: its bytes are sent once."""
        sender = self.sender
        if sender is None or not sender.place.is_usable:
            return contextlib.nullcontext
        if sender.place.written.reference.registry != reference.registry:
            return contextlib.nullcontext
        sender.mount_from(reference)
        return sender.turn

    def offer_image(self, table: str, key: str, documents: Sequence[bytes] = ()) -> None:
        """Have what is known of an image sent, with its documents and layers."""
        row = self.store.index.get(table, key)
        if row is None or not self.is_written:
            return
        layers = row.get("layers", [])
        self.offer(
            Outgoing(
                table=table,
                keys=(key,),
                row=row,
                snapshots=[str(name) for name in layers] if isinstance(layers, list) else [],
                has_forms=True,
                documents=tuple(base64.b64encode(data).decode() for data in documents),
            )
        )

    @property
    def is_written(self) -> bool:
        """Whether what is offered is sent."""
        return self.sender is not None

    @property
    def references(self) -> list[Reference]:
        """The repositories, from which a registry can mount blobs."""
        return [place.repository.reference for place in self.places]

    def drop(self) -> None:
        """Do not send what is left."""
        if self.sender is not None:
            self.sender.drop()

    def close(self) -> None:
        """Wait until the threads have ended."""
        if self.sender is not None:
            self.sender.finish()
        if self.leases is not None:
            self.leases.close()

    def finish(self) -> None:
        """Send what is left, or say what is dropped."""
        if self.sender is None:
            return
        if not self.sender.left:
            return
        unsent = self.sender.unsent()
        if self.settings.cache.waits:
            self._wait(self.sender, unsent)
            return
        self.sender.drop()
        if unsent.results:
            self.journal.step(f"cache: not sent, as asked: {unsent}").end()

    def _wait(self, sender: Sender, unsent: Unsent) -> None:
        name = sender.place.name
        if not unsent.results:  # but times of last uses
            sender.finish()
            return
        with self.journal.step(f"cache: send {unsent} to {name}, or --no-wait"):
            sender.finish()
        if sender.sent:
            sent = f"{format_results(sender.sent)}, {format_size(sender.sent_bytes)}"
            self.journal.step(f"cache: sent {sent}, to {name}").end()

    @property
    def _epoch(self) -> int | None:
        return self.settings.source_date_epoch

    def _find_in(self, place: Place, tag: str, table: str, key: str) -> bool:
        data = place.read(tag)
        if data is None:
            return False
        try:
            record = self._verified(place, parse_envelope(data), table, key)
            is_taken = adopt_record(self.store, self.supplier, record, self._epoch)
        except ArchiveInvalid as exc:
            place.distrust(str(exc))
            return False
        manifest = place.long_unused.pop(tag, None)
        if is_taken and manifest is not None and place is self.places[0] and self.sender:
            self.sender.add(Use(tag=tag, manifest=manifest))
        return is_taken

    def _end_sent(self, outgoing: Outgoing) -> None:
        if self.leases is not None:
            for tag in self._tags(outgoing):
                self.leases.end(tag, is_sent=True)

    def _tags(self, outgoing: Outgoing) -> list[str]:
        return [tag_of(outgoing.table, key, self._epoch) for key in outgoing.keys]

    def _leases(self, place: Place, before_waiting: Callable[[], None]) -> Leases | None:
        """The leases of a repository, where those who share it believe in them."""
        is_believed = place.is_private() if self.trust is None else self.trust.signer is not None
        if not is_believed:
            return None

        def verify(envelope: Envelope) -> Lease:
            verifier, lease = self._verifier(place, envelope), parse_lease(envelope.payload)
            _check_time(verifier, lease.made)
            return lease

        tags = LeaseTags(
            repository=place.repository,
            seal=self._seal,
            verify=verify,
            distrust=lambda reason: place.say(f"a lease of {place.name} was ignored: {reason}"),
        )
        return Leases(
            tags=tags,
            journal=self.journal,
            report=place.report,
            before_waiting=before_waiting,
        )

    def _seal(self, payload: bytes, kind: str = RECORD) -> bytes:
        if self.trust is None:
            return Envelope(payload=payload, kind=kind).encode()
        return self.trust.seal(payload, kind)

    def _verifier(self, place: Place, envelope: Envelope) -> Verifier | None:
        """The key that signed a record; None without keys, where the place is our own."""
        if self.trust is not None:
            return self.trust.check_signature(envelope)
        if not place.is_private():
            raise ArchiveInvalid(_missing_key(place))
        return None

    def _verified(self, place: Place, envelope: Envelope, table: str, key: str) -> Record:
        verifier = self._verifier(place, envelope)
        record = parse_record(envelope.payload)
        _check_time(verifier, record.made)
        if (record.table, record.key) != (table, key):
            message = "it is the record of another key"
            raise ArchiveInvalid(message)
        if record.repository != place.repository.reference.repository:
            message = f"it is a record of the repository {record.repository!r}"
            raise ArchiveInvalid(message)
        return record


def _trust(signing: Signing) -> Trust | None:
    """The user's keys, if there are any: their library takes long to import."""
    if signing == Signing():
        return None
    from layerline.engine.cache.trust import Trust

    return Trust.of(signing)


def _check_time(verifier: Verifier | None, made: float) -> None:
    """Raise ArchiveInvalid if a key is not believed in what was made at a time."""
    refusal = None if verifier is None else verifier.refusal(made)
    if refusal is not None:
        raise ArchiveInvalid(refusal)


def _missing_key(place: Place) -> str:
    return (
        f"{place.name} is neither of this machine nor reached by TLS with a login: "
        "trust a key that its records are signed with"
    )


@contextlib.asynccontextmanager
async def sent_at_end(cache: SharedCache | None) -> AsyncIterator[None]:
    """Send what is left after the block, also if a step in it has failed, but not if cancelled."""
    failure: list[Exception] = []
    try:
        yield
    except Exception as exc:  # noqa: BLE001  raised once the other results are sent
        failure.append(exc)
    if cache is not None:
        await anyio.to_thread.run_sync(cache.finish, abandon_on_cancel=True)
    if failure:
        raise failure[0]
