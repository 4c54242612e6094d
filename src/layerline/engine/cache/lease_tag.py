"""Leases in the registry: reading, writing and removing what is under their tags.

A registry that honours the preconditions of RFC 9110 on manifests writes a lease only where nobody
else has written in the meantime. The OCI specification does not ask for that
(https://github.com/opencontainers/distribution-spec/issues/250), and docker-registry accepts such
requests and ignores them, so it is tried.
"""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.cache.artifact import MANIFEST
from layerline.engine.cache.envelope import LEASE, parse_envelope
from layerline.engine.cache.lease import parse_lease
from layerline.engine.cache.place import insist
from layerline.engine.image import manifests
from layerline.engine.image.manifests import EMPTY
from layerline.engine.image.registry.client import Request
from layerline.engine.store.digest import digest_bytes
from layerline.errors import ArchiveInvalid, RegistryTimeout, RegistryUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from layerline.engine.cache.envelope import Envelope
    from layerline.engine.cache.lease import Lease
    from layerline.engine.image.registry.repository import Repository

ARTIFACT = "application/vnd.layerline.cache.lease.v1"
TEXT = "dev.layerline.cache.lease"
"""The annotation with the envelope of a lease."""
PREFIX = "l-"
_LARGEST = 64 << 10
_SECONDS = 10.0
_DAY = 24 * 3600
_NOBODY = {"If-None-Match": "*"}
_WRITTEN = frozenset({200, 201, 202})
_CHANGED = 412  # Precondition Failed
_NEEDS_BLOB = frozenset({400, 404})  # MANIFEST_BLOB_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is under a tag: a lease that is believed, and the entity tag of whatever there is.

    `date` is the time of the registry's clock; `asked` is when it was asked for, monotonic.
    """

    lease: Lease | None
    etag: str | None
    date: float | None
    asked: float


@dataclass(slots=True, kw_only=True, eq=False)
class LeaseTags:
    """The leases of a repository. `verify` raises ArchiveInvalid for what is not believed.

    That is passed to `distrust`, and counts as absent. `is_conditional` is whether the registry
    honours preconditions; None until that is known.
    """

    repository: Repository
    seal: Callable[[bytes, str], bytes]
    verify: Callable[[Envelope], Lease]
    distrust: Callable[[str], None]
    is_conditional: bool | None = None
    _deletes: bool = True
    _written: dict[str, bytes] = field(default_factory=dict)

    def read(self, tag: str) -> Seen:
        """What is under the tag of a record's lease. Raises ImageError."""
        asked = time.monotonic()
        return insist(lambda: self._read(tag, asked))

    def write(self, lease: Lease, over: Seen | None = None) -> bool:
        """Put a lease under its tag; whether it was. If not, read it again.

        Where the registry honours preconditions, only if nothing has changed since `over` was seen.
        Raises ImageError.
        """
        data = self._manifest(lease)
        condition: Mapping[str, str] = {}
        if over is not None and self.is_conditional is not False:
            condition = _NOBODY if over.etag is None else {"If-Match": over.etag}
        status = self._put(lease.tag, data, condition)
        if status in _NEEDS_BLOB:
            self.repository.push_blob(EMPTY, b"{}")
            return False
        if status == _CHANGED:
            return False
        if status not in _WRITTEN:
            message = f"{self.repository.reference.registry}: status {status} for a lease"
            raise RegistryUnreachable(message)
        self._written[lease.tag] = data
        return True

    def probe(self, lease: Lease) -> None:
        """Find out whether preconditions are honoured, with a lease that is held.

        Raises ImageError.
        """
        data, other = self._written[lease.tag], f'"{EMPTY.digest}"'
        refused = [self._put(lease.tag, data, each) for each in (_NOBODY, {"If-Match": other})]
        self.is_conditional = all(status == _CHANGED for status in refused)

    def remove(self, lease: Lease, released: Lease) -> None:
        """Remove a lease, or replace it where the registry allows no deletions.

        What somebody else has put under the tag has another digest, and stays. Raises ImageError.
        """
        data = self._written.pop(lease.tag, b"")
        if self._deletes:
            accepts = frozenset({200, 202, 204, 400, 401, 403, 404, 405, 501})
            request = self._request("DELETE", digest_bytes(data), accepts=accepts, is_tag=False)

            def delete() -> bool:
                with self.repository.endpoint.send(request) as response:
                    return response.status_code in (200, 202, 204, 404)

            self._deletes = insist(delete)
        if not self._deletes and self.read(lease.tag).lease == lease:
            self.write(released)
            self._written.pop(lease.tag, None)

    def _read(self, tag: str, asked: float) -> Seen:
        request = self._request("GET", tag, accepts=frozenset({200, 404}))
        with self.repository.endpoint.send(request) as response:
            date = _date(response)
            if response.status_code == 404:
                return Seen(lease=None, etag=None, date=date, asked=asked)
            data = _body(response, asked + _SECONDS)
        etag = response.headers.get("ETag") or f'"{digest_bytes(data)}"'
        return Seen(lease=self._lease(tag, data), etag=etag, date=date, asked=asked)

    def _lease(self, tag: str, data: bytes) -> Lease | None:
        try:
            lease = self.verify(parse_envelope(_text(data), LEASE))
        except ArchiveInvalid as exc:
            self.distrust(str(exc))
            return None
        if (lease.tag, lease.repository) != (tag, self.repository.reference.repository):
            self.distrust("it is the lease of another key")
            return None
        return lease

    def _manifest(self, lease: Lease) -> bytes:
        return manifests.document_bytes(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": ARTIFACT,
                "config": EMPTY.document(),
                "layers": [EMPTY.document()],
                "annotations": {TEXT: self.seal(lease.payload(), LEASE).decode()},
            }
        )

    def _put(self, tag: str, data: bytes, condition: Mapping[str, str]) -> int:
        accepts = _WRITTEN | _NEEDS_BLOB | {_CHANGED}
        headers = {"Content-Type": MANIFEST, "Content-Length": str(len(data)), **condition}
        request = self._request("PUT", tag, accepts=accepts, headers=headers, data=data)

        def put() -> int:
            with self.repository.endpoint.send(request) as response:
                return response.status_code

        return insist(put)

    def _request(
        self,
        method: str,
        which: str,
        *,
        accepts: frozenset[int],
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        is_tag: bool = True,
    ) -> Request:
        repository = self.repository.reference.repository
        name = lease_tag(which) if is_tag else which
        actions = "pull,push,delete" if method == "DELETE" else "pull,push"
        return Request(
            method,
            self.repository.endpoint.url(f"{repository}/manifests/{name}"),
            scope=f"repository:{repository}:{actions}",
            headers={"Accept": MANIFEST, **(headers or {})},
            body=None if data is None else lambda: (data,),
            expect=accepts,
            tries=1,
        )


def lease_tag(tag: str) -> str:
    """The tag of the lease for the record of a tag."""
    return PREFIX + tag.partition("-")[2]


def is_abandoned(data: bytes, now: float) -> bool:
    """Whether the manifest is that of a lease that was given back, or not renewed for a day.

    Whether it is signed makes no difference: it is not believed, but removed.
    """
    lease = parse_lease(parse_envelope(_text(data), LEASE).payload)
    return lease.is_released or now - max(lease.renewed, lease.made) > _DAY


def _text(data: bytes) -> bytes:
    """The envelope in a manifest. Raises ArchiveInvalid."""
    annotations = manifests.parse_json(data, "manifest of a lease").get("annotations")
    text = annotations.get(TEXT) if isinstance(annotations, dict) else None
    if not isinstance(text, str):
        message = "the artifact is not a lease"
        raise ArchiveInvalid(message)
    return text.encode()


def _date(response: httpx.Response) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def _body(response: httpx.Response, deadline: float) -> bytes:
    """The body of a response; of one that is too long for a lease, the beginning."""
    data = b""
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > _LARGEST:
            return data
        if time.monotonic() > deadline:
            message = f"{response.url.host} did not send its answer in time"
            raise RegistryTimeout(message)
    return data
