"""The pull part of the OCI distribution specification 1.1, as an ASGI application.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from layerline.engine.image import manifests
from layerline.engine.store.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from layerline.engine.image.registry.credentials import Login
    from layerline.engine.image.registry_server.content import Catalog, Content, ServedRepository

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<which>[^/]+)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Docker's clients ask for it before they use the API.
_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
_REALM = 'Basic realm="Layerline registry"'
_JSON = "application/json"
_BLOB = "application/octet-stream"


@dataclass(slots=True, eq=False)
class Traffic:
    """What was asked for: the number of requests, and the blobs that were sent from their start."""

    requests: int = 0
    blobs: dict[Digest, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count_request(self) -> None:
        """Count a request."""
        with self._lock:
            self.requests += 1

    def count_blob(self, digest: Digest, size: int) -> None:
        """Count a blob that is sent; `size` is in bytes."""
        with self._lock:
            self.blobs[digest] = size


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryApplication:
    """Answers GET and HEAD for a catalog, with a `login` only to those who know it."""

    catalog: Catalog
    login: Login | None = None
    traffic: Traffic = field(default_factory=Traffic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        self.traffic.count_request()
        response = await anyio.to_thread.run_sync(self._respond, request)  # it reads the store
        await response(scope, receive, send)

    def _respond(self, request: Request) -> Response:
        if self.login is not None and not _is_known(request, self.login):
            return _error(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "log in with 'docker login'")
        if request.method not in ("GET", "HEAD"):
            message = "this registry is read-only"
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
        path = request.url.path
        if path in ("/v2", "/v2/"):
            return _document({})
        if path == "/v2/_catalog":
            return _page(request, "repositories", self.catalog.names())
        found = _PATH.fullmatch(path)
        if found is None:
            return _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"{path} is not of this API")
        repository = self.catalog.find(found["name"])
        if repository is None:
            message = f"repository {found['name']} is not known to this registry"
            return _error(HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", message)
        return self._of_repository(request, repository, found)

    def _of_repository(
        self, request: Request, repository: ServedRepository, found: re.Match[str]
    ) -> Response:
        which = found["which"]
        match found["kind"]:
            case "manifests":
                return _manifest(repository, which)
            case "blobs":
                content = repository.blobs.get(Digest(which)) or repository.documents.get(
                    Digest(which)
                )
                if content is None:
                    message = f"blob {which} is not in {found['name']}"
                    return _error(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", message)
                return self._blob(request, Digest(which), content)
            case "tags" if which == "list":
                return _page(request, "tags", sorted(repository.tags), name=found["name"])
            case "referrers" if _DIGEST.fullmatch(which):
                index = manifests.OCI.index
                return Response(manifests.index_bytes([], index), media_type=index)
        return _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"{request.url.path} does not exist")

    def _blob(self, request: Request, digest: Digest, content: Content) -> Response:
        headers = {
            **_VERSION,
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }
        wanted = _range(request.headers.get("Range"), content.size)
        if wanted is None:
            headers["Content-Range"] = f"bytes */{content.size}"
            message = "the range is not in the blob"
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            return _error(status, "SIZE_INVALID", message, headers)
        start, end = wanted
        partial = (start, end) != (0, content.size)
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
        headers["Content-Length"] = str(end - start)
        status = HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=_BLOB)
        self.traffic.count_blob(digest, content.size)
        chunks: Iterator[bytes] = content.read(start, end)
        return StreamingResponse(chunks, status, headers, _BLOB)


def _manifest(repository: ServedRepository, which: str) -> Response:
    digest = repository.tags.get(which) or Digest(which)
    document = repository.documents.get(digest)
    if document is None:
        message = f"manifest {which} is not known to this registry"
        return _error(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", message)
    headers = {**_VERSION, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
    return Response(document.data, headers=headers, media_type=document.media_type)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes that are asked for, all of them without a range; None if the blob has none such.

    A header of another form, and one of several ranges, is ignored, as RFC 9110 has it.
    """
    found = _RANGE.fullmatch(header) if header else None
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    return (start, end) if start < end else None


def _is_known(request: Request, login: Login) -> bool:
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    wanted = f"{login.username}:{login.secret}".encode()
    return kind.lower() == "basic" and hmac.compare_digest(given, wanted)


def _page(request: Request, key: str, values: Sequence[str], **more: str) -> Response:
    """A sorted list, from `last` on and at most `n` long, with a link to what follows."""
    last, count = request.query_params.get("last", ""), request.query_params.get("n", "")
    rest = [value for value in values if value > last]
    page = rest[: int(count)] if count.isdigit() else rest
    headers = dict(_VERSION)
    if page and len(page) < len(rest):
        query = urlencode({"n": count, "last": page[-1]})
        headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return _document({**more, key: page}, headers)


def _document(document: Mapping[str, Any], headers: Mapping[str, str] = _VERSION) -> Response:
    return Response(json.dumps(document).encode(), headers=dict(headers), media_type=_JSON)


def _error(
    status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] = _VERSION
) -> Response:
    more = {"WWW-Authenticate": _REALM} if status == HTTPStatus.UNAUTHORIZED else {}
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Response(body, status, {**headers, **more}, _JSON)
