"""A small registry in this process that fails on request and records the requests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fake:
    """`trouble` may answer instead: a status with headers, or "cut" for half of the body.

    `referrers` are those by their subject, for the API that lists them; None for a registry that
    lacks it.
    """

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    trouble: Callable[[Asked], tuple[int, dict[str, str]] | str | None] = lambda _: None
    incomplete: list[str] = field(default_factory=list)
    referrers: dict[str, list[dict[str, object]]] | None = None

    def put_manifest(self, media_type: str, data: bytes, *names: str) -> str:
        """Store a manifest under its digest and these tags."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        for name in (digest, *names):
            self.manifests[name] = (media_type, data)
        return digest

    def put_blob(self, data: bytes) -> str:
        """Store a blob."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def secrets_seen(self) -> list[str]:
        """The paths asked for with credentials."""
        return [asked.path for asked in self.asked if "authorization" in asked.headers]


@contextlib.contextmanager
def fake_registry() -> Iterator[Fake]:
    """Serve on a free loopback port."""
    fake = Fake()

    class Handler(_Handler):
        registry = fake

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    with running(server) as port:
        fake.address = f"127.0.0.1:{port}"
        yield fake


class _Handler(BaseHTTPRequestHandler):
    registry: Fake
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _serve(self) -> None:
        fake = self.registry
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        asked = Asked(self.command, self.path, headers)
        fake.asked.append(asked)
        trouble = fake.trouble(asked)
        if isinstance(trouble, tuple):
            self._answer(*trouble)
            return
        parts = urlsplit(self.path)
        found = re.fullmatch(r"/v2/(.+)/(blobs|manifests|referrers)/(.*)", parts.path)
        if found is None:
            self._answer(404, {})
        elif found[2] == "referrers":
            self._list(found[3])
        elif self.command in ("GET", "HEAD"):
            self._give(found[2], found[3], cut=trouble == "cut")
        elif self.command == "POST":
            self._answer(202, {"Location": f"/v2/{found[1]}/blobs/uploads/session"})
        elif found[2] == "blobs":
            fake.blobs[parse_qs(parts.query)["digest"][0]] = body
            self._answer(201, {})
        else:
            self._take_manifest(found[3], headers["content-type"], body)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _take_manifest(self, which: str, media_type: str, body: bytes) -> None:
        fake = self.registry
        wanted = re.findall(r"sha256:[0-9a-f]{64}", body.decode())
        if any(digest not in fake.blobs and digest not in fake.manifests for digest in wanted):
            fake.incomplete.append(which)
        digest = fake.put_manifest(media_type, body, which)
        document = json.loads(body)
        subject = document.get("subject", {}).get("digest")
        if subject is None or fake.referrers is None:
            self._answer(201, {})
            return
        described = {"mediaType": media_type, "digest": digest, "size": len(body)}
        entry = {**described, "artifactType": document["artifactType"]}
        fake.referrers.setdefault(subject, []).append(entry)
        self._answer(201, {"OCI-Subject": subject})

    def _list(self, digest: str) -> None:
        """The index of the referrers API (OCI distribution specification 1.1)."""
        if self.registry.referrers is None:
            self._answer(404, {})
            return
        kind = "application/vnd.oci.image.index.v1+json"
        entries = self.registry.referrers.get(digest, [])
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
        self._answer(200, {"Content-Type": kind}, json.dumps(index).encode())

    def _give(self, kind: str, which: str, *, cut: bool) -> None:
        fake = self.registry
        if kind == "manifests" and which in fake.manifests:
            media_type, data = fake.manifests[which]
            self._answer(200, {"Content-Type": media_type}, data)
        elif kind == "blobs" and which in fake.blobs:
            data = fake.blobs[which]
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else 0
            rest = data[start:]
            sent = rest[: len(rest) // 2] if cut else rest
            length = {"Content-Length": str(len(rest))}
            self._answer(206 if wanted else 200, length, sent)
        else:
            self._answer(404, {})

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
