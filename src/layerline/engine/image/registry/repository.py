"""Pull and push manifests and blobs of a repository; content is verified as it is received.

A push sends missing blobs first and the manifest under its tag last, so a tag never points to an
incomplete image.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.image import manifests, stream
from layerline.engine.image.reference import DEFAULT_TAG, Reference
from layerline.engine.image.registry.client import Request
from layerline.engine.store.cancellation import carried, check_cancelled
from layerline.engine.store.digest import digest_bytes
from layerline.errors import (
    ArchiveInvalid,
    ImageNotFound,
    RegistryDenied,
    RegistryTimeout,
    RegistryUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    import httpx

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.registry.client import Endpoint
    from layerline.engine.store.blobs import BlobWriter
    from layerline.engine.store.digest import Digest
    from layerline.engine.store.store import Store

_ACCEPT = ", ".join(sorted(manifests.INDEX_TYPES | manifests.MANIFEST_TYPES))
_FRUITLESS_TRIES = 3
_PARALLEL_UPLOADS = 5  # as dockerd's max-concurrent-uploads
_OK_OR_MISSING = frozenset({200, 404})


@dataclass(frozen=True, slots=True, kw_only=True)
class RawManifest:
    """A manifest or index with its original bytes."""

    descriptor: Descriptor
    data: bytes


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository at one endpoint."""

    endpoint: Endpoint
    reference: Reference

    def manifest(self, which: str) -> RawManifest:
        """The manifest or index under a tag or a digest."""
        url = self._url(f"manifests/{which}")
        try:
            with self.endpoint.send(
                Request("GET", url, scope=self._scope("pull"), headers={"Accept": _ACCEPT})
            ) as response:
                data = _read_document(response)
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        except ImageNotFound as exc:
            message = f"{self.reference}: not found; check the name and the tag"
            raise ImageNotFound(message) from exc
        if which.startswith("sha256:") and digest_bytes(data) != which:
            message = (
                f"{self.reference.registry}: content does not match its digest {which}; try again"
            )
            raise ArchiveInvalid(message)
        return RawManifest(descriptor=manifests.describe(data, media_type), data=data)

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch a small blob and check its size and digest."""
        if descriptor.size > manifests.LARGEST_DOCUMENT:
            message = f"{descriptor.digest} is too large for a document: {descriptor.size} bytes"
            raise ArchiveInvalid(message)
        url = self._url(f"blobs/{descriptor.digest}")
        with self.endpoint.send(Request("GET", url, scope=self._scope("pull"))) as response:
            return manifests.verify(_read_document(response), descriptor)

    def fetch(
        self, store: Store, descriptor: Descriptor, watch: Callable[[int], None] | None = None
    ) -> None:
        """Fetch a blob into the store; an interrupted download is resumed.

        `watch` is called with the number of bytes that have come so far; what it raises ends it.
        """
        with store.blobs.writer() as writer:
            fruitless = 0
            while writer.size < descriptor.size:
                before = writer.size
                try:
                    self._receive(writer, descriptor, watch or _do_not_watch)
                except (RegistryUnreachable, RegistryTimeout):
                    fruitless = fruitless + 1 if writer.size == before else 0
                    if fruitless == _FRUITLESS_TRIES:
                        raise
            writer.commit(descriptor.digest)

    def push(
        self,
        store: Store,
        image: AssembledImage,
        *,
        sources: Sequence[Reference] = (),
        known: Collection[str] = (),
        is_new: bool = False,
        turn: Callable[[Digest], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Upload what is missing, then the manifest under the tag.

        `sources` are images that layers came from; the registry can mount these layers. Blobs of
        the digests `known` are in the repository; documents that are new are not asked for. Each
        layer is sent in its `turn`.
        """
        kinds = manifests.MANIFEST_TYPES | manifests.INDEX_TYPES
        with ThreadPoolExecutor(_PARALLEL_UPLOADS) as pool:
            missing = [layer for layer in image.layers if layer.digest not in known]

            def upload(layer: Descriptor) -> None:
                with turn(layer.digest):
                    self.push_layer(store, layer, sources)

            for _ in pool.map(carried(upload), missing):
                pass
        for descriptor, data in image.documents:
            if descriptor.media_type not in kinds:
                self._put_blob(descriptor, _repeatable(data), [], is_new=is_new)
        for descriptor, data in image.documents:
            if descriptor.media_type in kinds and descriptor.digest != image.root.digest:
                self._put_manifest(descriptor.digest, descriptor, data)
        tag = self.reference.tag or DEFAULT_TAG
        self._put_manifest(tag, image.root, image.document(image.root.digest))

    def push_layer(
        self,
        store: Store,
        layer: Descriptor,
        sources: Sequence[Reference] = (),
        *,
        watch: Callable[[], None] | None = None,
    ) -> bool:
        """Upload a blob of the store; False if the registry has it, here or in one of `sources`.

        `watch` is called for each piece that was sent.
        """
        mine = [
            source.repository
            for source in sources
            if source.registry == self.reference.registry
            and source.repository != self.reference.repository
        ]
        return self._upload(store, layer, mine, watch)

    def push_blob(self, blob: Descriptor, data: bytes) -> None:
        """Upload bytes as a blob unless the repository has it."""
        self._put_blob(blob, _repeatable(data), [])

    def put_manifest(self, tag: str, data: bytes, media_type: str) -> None:
        """Put a manifest under a tag; what it names is in the repository."""
        self._put_manifest(tag, manifests.describe(data, media_type), data)

    def delete_manifest(self, digest: Digest) -> None:
        """Remove a manifest with all of its tags; the registry collects its blobs in its own time.

        Raises RegistryDenied where the registry allows no deletions.
        """
        url = self._url(f"manifests/{digest}")
        expect = frozenset({202, 404, 405})
        request = Request("DELETE", url, scope=self._scope("pull,push,delete"), expect=expect)
        with self.endpoint.send(request) as response:
            if response.status_code == 405:
                message = (
                    f"{self.reference.registry} allows no deletions: enable them, "
                    "for docker-registry with REGISTRY_STORAGE_DELETE_ENABLED=true"
                )
                raise RegistryDenied(message)

    def _receive(
        self, writer: BlobWriter, descriptor: Descriptor, watch: Callable[[int], None]
    ) -> None:
        start = writer.size
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self.endpoint.send(
            Request(
                "GET",
                self._url(f"blobs/{descriptor.digest}"),
                scope=self._scope("pull"),
                headers={"Accept-Encoding": "identity", **headers},
                expect=frozenset({200, 206}),
            )
        ) as response:
            skip = start if response.status_code == 200 else 0
            for chunk in response.iter_raw():
                fresh = chunk[skip:]
                skip = max(0, skip - len(chunk))
                if writer.size + len(fresh) > descriptor.size:
                    message = f"{descriptor.digest} is longer than its declared {descriptor.size}"
                    raise ArchiveInvalid(message)
                writer.write(fresh)
                watch(writer.size)
        if writer.size == start:
            message = f"{self.reference.registry} sent no data for {descriptor.digest}"
            raise RegistryUnreachable(message)

    def _upload(
        self,
        store: Store,
        layer: Descriptor,
        sources: Sequence[str],
        watch: Callable[[], None] | None = None,
    ) -> bool:
        def body() -> Iterator[bytes]:
            with store.blobs.open(layer.digest) as file:
                for chunk in iter(lambda: file.read(stream.CHUNK), b""):
                    check_cancelled()
                    yield chunk
                    if watch is not None:
                        watch()

        return self._put_blob(layer, body, sources)

    def _put_blob(
        self,
        blob: Descriptor,
        body: Callable[[], Iterator[bytes]],
        sources: Sequence[str],
        *,
        is_new: bool = False,
    ) -> bool:
        """Upload a blob; False if the repository has it, or can take it from another one."""
        if not is_new and self._has(blob):
            return False
        for attempt in range(1, _FRUITLESS_TRIES + 1):
            place = self._begin_upload(blob, sources)
            if place is None:
                return False
            try:
                self._send(place, blob, body)
            except (RegistryUnreachable, RegistryTimeout, ImageNotFound):
                # The upload session is lost: begin a new one, unless the blob has arrived.
                if attempt == _FRUITLESS_TRIES:
                    raise
                if self._has(blob):
                    break
            else:
                break
        return True

    def _begin_upload(self, blob: Descriptor, sources: Sequence[str]) -> httpx.URL | None:
        """The URL to upload a blob to; None if the registry mounted it from another repository."""
        url = self._url("blobs/uploads/")
        scope = self._scope("pull,push")
        if sources:
            url = url.copy_merge_params({"mount": blob.digest, "from": sources[0]})
            scope = f"{scope} repository:{sources[0]}:pull"
        with self.endpoint.send(
            Request("POST", url, scope=scope, body=_nothing, expect=frozenset({201, 202}))
        ) as response:
            if response.status_code == 201:
                return None
            return url.join(response.headers["Location"])

    def _send(
        self, place: httpx.URL, blob: Descriptor, body: Callable[[], Iterator[bytes]]
    ) -> None:
        with self.endpoint.send(
            Request(
                "PUT",
                place.copy_merge_params({"digest": blob.digest}),
                scope=self._scope("pull,push"),
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(blob.size),
                },
                body=body,
                expect=frozenset({201, 204}),
                tries=1,
            )
        ):
            pass

    def _put_manifest(self, which: str, descriptor: Descriptor, data: bytes) -> None:
        with self.endpoint.send(
            Request(
                "PUT",
                self._url(f"manifests/{which}"),
                scope=self._scope("pull,push"),
                headers={
                    "Content-Type": descriptor.media_type,
                    "Content-Length": str(descriptor.size),
                },
                body=_repeatable(data),
                expect=frozenset({200, 201, 202}),
            )
        ):
            pass

    def _has(self, blob: Descriptor) -> bool:
        with self.endpoint.send(
            Request(
                "HEAD",
                self._url(f"blobs/{blob.digest}"),
                scope=self._scope("pull,push"),
                expect=_OK_OR_MISSING,
            )
        ) as response:
            return response.status_code == 200

    def _url(self, path: str) -> httpx.URL:
        return self.endpoint.url(f"{self.reference.repository}/{path}")

    def _scope(self, actions: str) -> str:
        return f"repository:{self.reference.repository}:{actions}"


def _read_document(response: httpx.Response) -> bytes:
    data = b""
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > manifests.LARGEST_DOCUMENT:
            limit = manifests.LARGEST_DOCUMENT
            message = f"{response.url.host} sent a document of more than {limit} bytes"
            raise ArchiveInvalid(message)
    return data


def _repeatable(data: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter((data,))


def _nothing() -> Iterator[bytes]:
    return iter(())


def _do_not_watch(_received: int) -> None:
    pass
