"""One repository of the cache: what is in it, and its end for this session once it fails.

A repository that does not answer, is full, refuses or lies costs one message: nothing is asked of
it any more (a circuit breaker that stays open until the next session).
"""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from layerline.engine.cache.artifact import MANIFEST, config_in, used_in
from layerline.engine.cache.record import LARGEST_RECORD
from layerline.engine.image import manifests
from layerline.engine.image.registry.client import Request, is_loopback
from layerline.errors import (
    ArchiveInvalid,
    ImageError,
    ImageNotFound,
    RegistryTimeout,
    RegistryUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from layerline.engine.image.registry.repository import Repository

_LISTING_SECONDS = 3.0
_RECORD_SECONDS = 10.0
_DAY = 24 * 3600
_LARGEST_LISTING = 64 << 20
_PAGE = 10_000
_LARGEST_MANIFEST = LARGEST_RECORD
_TRIES = 3
_PAUSE_SECONDS = 0.1

T = TypeVar("T")


class SlowAnswer(RegistryTimeout):
    """A registry that answers, but too slowly."""


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """A repository of records. `report` is called at most once for a failure. Threads share it.

    It is read as `repository` and written to as `written`, which waits longer for answers.
    `long_unused` are the manifests, by tag, of records that were read and not used for a day.

    The tags of the repository are listed once, in the background: a key that is not among them is
    a miss without a request. Where a registry lists too slowly, or needs more pages than one so
    far, each key is asked for.
    """

    name: str
    repository: Repository
    written: Repository
    report: Callable[[str], None]
    listing_seconds: float = _LISTING_SECONDS
    is_usable: bool = True
    failure: ImageError | None = None
    long_unused: dict[str, bytes] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    listing: Future[frozenset[str] | None] = field(init=False)
    _has_page: threading.Event = field(default_factory=threading.Event)
    _absent: set[str] = field(default_factory=set)
    _reported: bool = False

    def __post_init__(self) -> None:
        """Begin to list the tags."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="cache-tags")
        self.listing = pool.submit(self._list)
        # Not by the thread: who waits would find that it is not done yet, and ask for its key.
        self.listing.add_done_callback(lambda _: self._has_page.set())
        pool.shutdown(wait=False)

    def is_private(self) -> bool:
        """Whether what is not signed may be taken from it: it is ours, or of this machine."""
        base = self.repository.endpoint.base
        has_login = self.repository.endpoint.login is not None
        return is_loopback(base.host) or (base.scheme == "https" and has_login)

    def may_have(self, tag: str) -> bool:
        """Whether it is worth a request to ask for a tag."""
        if not self.is_usable:
            return False
        if not self.listing.done():
            self._has_page.wait(self.listing_seconds)
        tags = self.tags() if self.listing.done() else None
        return tag not in self._absent and (tags is None or tag in tags)

    def tags(self) -> frozenset[str] | None:
        """The tags at the begin of the session; None if they are not known."""
        try:
            return self.listing.result(self.listing_seconds)
        except FutureTimeout:
            return None

    def read(self, tag: str) -> bytes | None:
        """The envelope under a tag; None if there is none, or it cannot be had."""
        try:
            return insist(lambda: self._read(tag))
        except ImageNotFound:
            self._absent.add(tag)
        except ArchiveInvalid as exc:
            self.distrust(str(exc))
        except ImageError as exc:
            self.fail(exc)
        return None

    def fail(self, exc: ImageError) -> None:
        """Use the repository no more in this session, and say so."""
        self.is_usable = False
        self.failure = exc
        self.say(f"the cache {self.name} is not used any more in this call: {exc}")

    def distrust(self, reason: str) -> None:
        """Say once that a record was not taken."""
        self.say(f"a record of the cache {self.name} was not taken: {reason}")

    def say(self, message: str) -> None:
        """Report the first trouble with the repository."""
        if not self._reported:
            self._reported = True
            self.report(message)

    def _read(self, tag: str) -> bytes:
        data = self.manifest(tag)
        if used_in(data) < time.time() - _DAY:
            self.long_unused[tag] = data
        return self.envelope_in(data)

    def envelope_in(self, manifest: bytes) -> bytes:
        """The envelope of a record's manifest, or the one that it names. Raises ImageError."""
        descriptor, envelope = config_in(manifest)
        if envelope is not None:
            return envelope
        if descriptor.size > 2 * LARGEST_RECORD:
            message = f"a record of {descriptor.size} bytes"
            raise ArchiveInvalid(message)
        try:
            found = self._get(f"blobs/{descriptor.digest}", descriptor.size, accept="*/*")
        except ImageNotFound as exc:
            message = "the registry has lost its configuration"
            raise ArchiveInvalid(message) from exc
        return manifests.verify(found, descriptor)

    def manifest(self, tag: str) -> bytes:
        """The manifest under a tag. Raises ImageNotFound, or another ImageError."""
        return self._get(f"manifests/{tag}", _LARGEST_MANIFEST, accept=MANIFEST)

    def _list(self) -> frozenset[str] | None:
        deadline = time.monotonic() + self.listing_seconds
        tags: set[str] = set()
        path, size = f"tags/list?n={_PAGE}", 0
        try:
            while time.monotonic() < deadline and size <= _LARGEST_LISTING:
                request = self._request(path, accept="application/json")
                with self.repository.endpoint.send(request) as response:
                    data = _read_until(response, _LARGEST_LISTING, deadline)
                    link = response.links.get("next", {}).get("url")
                size += len(data)
                tags.update(map(str, json.loads(data).get("tags") or ()))
                if link is None:
                    return frozenset(tags)
                path = f"tags/list?{link.partition('?')[2]}"
                self._has_page.set()
        except ImageNotFound:
            return frozenset()  # a repository that nobody has pushed to
        except (SlowAnswer, ArchiveInvalid, ValueError, AttributeError, TypeError):
            return None
        except ImageError as exc:
            self.fail(exc)
        return None

    def _get(self, path: str, limit: int, *, accept: str) -> bytes:
        deadline = time.monotonic() + _RECORD_SECONDS
        with self.repository.endpoint.send(self._request(path, accept=accept)) as response:
            return _read_until(response, limit, deadline)

    def _request(self, path: str, *, accept: str) -> Request:
        repository = self.repository.reference.repository
        url = self.repository.endpoint.url(f"{repository}/{path}")
        scope = f"repository:{repository}:pull"
        return Request("GET", url, scope=scope, headers={"Accept": accept}, tries=1)


def insist(request: Callable[[], T]) -> T:
    """Try again what the registry has answered with an error of its own.

    docker-registry answers with status 500 while it writes what it is asked for.
    """
    for _ in range(_TRIES - 1):
        try:
            return request()
        except RegistryUnreachable:
            time.sleep(_PAUSE_SECONDS * random.uniform(0.5, 1.5))
    return request()


def _read_until(response: httpx.Response, limit: int, deadline: float) -> bytes:
    """The body of a response, of `limit` bytes at most and before a time."""
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > limit:
            message = f"an answer of more than {limit} bytes"
            raise ArchiveInvalid(message)
        if time.monotonic() > deadline:
            message = f"{response.url.host} did not send its answer in time"
            raise SlowAnswer(message)
    return bytes(data)
