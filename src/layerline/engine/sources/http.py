"""Downloads of http and https URLs, stored by content.

Invariant: a download is stored only if it is complete and matches the requested checksum.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpx

from layerline.engine.image.registry.client import connection_error
from layerline.engine.image.registry.connections import http_client
from layerline.engine.store.digest import digest_of
from layerline.engine.store.epoch import EPOCH
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerline.engine.image.registry.reach import Reach
    from layerline.engine.store.store import Store
    from layerline.settings import Settings

PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """A file to fetch; `checksum` is `sha256:` and digits, or empty."""

    url: str
    name: str
    mode: int = PRIVATE
    checksum: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A snapshot that holds one file; `digest` is of its name, metadata and bytes."""

    snapshot: str
    name: str
    digest: str


def file_name(url: str, otherwise: str) -> str:
    """The file name of a download: the last part of the URL's path, or `otherwise`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        message = f"cannot fetch {url}: use a URL with http:// or https://"
        raise QueryError(message)
    name = posixpath.basename(unquote(parts.path))
    return name if name not in ("", ".", "..") else otherwise


def fetch(
    store: Store, settings: Settings, request: DownloadRequest, reach: Reach | None = None
) -> Download:
    """Fetch a file from what is in `reach`; QueryError if it does not match a given checksum."""
    with store.snapshots.draft() as draft:
        place = draft.fs / request.name
        with http_client(settings, reach) as client:
            found, modified = _write(client, request, place)
        if request.checksum and request.checksum != f"sha256:{found}":
            message = (
                f"digest mismatch of {request.url}: sha256:{found}, expected {request.checksum}"
            )
            raise QueryError(message)
        place.chmod(request.mode)
        os.utime(place, (modified, modified))
        os.utime(draft.fs, (EPOCH, EPOCH))
        digest = digest_of(["download", request.name, request.mode, found, modified])
        snapshot = draft.commit(f"download-{digest}")
        return Download(snapshot=snapshot, name=request.name, digest=digest)


def _write(client: httpx.Client, request: DownloadRequest, place: Path) -> tuple[str, int]:
    """Write the body, and return its checksum and modification time."""
    hasher = hashlib.sha256()
    headers = dict(request.headers)
    try:
        with (
            client.stream("GET", request.url, headers=headers, follow_redirects=True) as response,
            place.open("xb") as file,
        ):
            if not response.is_success:
                message = f"invalid response status {response.status_code} of {request.url}"
                raise QueryError(message)
            for chunk in response.iter_bytes():
                hasher.update(chunk)
                file.write(chunk)
            return hasher.hexdigest(), _parse_modified(response.headers.get("last-modified", ""))
    except httpx.TransportError as exc:
        message = f"failed to load {request.url}: {connection_error(exc, httpx.URL(request.url))}"
        raise QueryError(message) from exc
    except httpx.HTTPError as exc:
        message = f"failed to load {request.url}: {exc}"
        raise QueryError(message) from exc


def _parse_modified(text: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError):
        return EPOCH
