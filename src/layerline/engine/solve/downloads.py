"""Files from http and https URLs, known in the store by their bytes."""

from __future__ import annotations

import email.utils
import hashlib
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpx

from layerline.engine.store.digest import digest_of
from layerline.errors import QueryError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.store.store import Store

_SECONDS = 60.0
_UNNAMED = "__unnamed__"
_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A snapshot that holds one file; `digest` is of its name and bytes."""

    snapshot: str
    name: str
    digest: str


def file_name(url: str) -> str:
    """What a download is called: the last part of the URL's path."""
    name = posixpath.basename(unquote(urlsplit(url).path))
    return name if name not in ("", ".", "..") else _UNNAMED


def fetch(store: Store, url: str, checksum: str = "") -> Download:
    """Fetch a file; an error unless its bytes have the checksum, where one is given."""
    name = file_name(url)
    with store.snapshots.draft() as draft:
        place = draft.fs / name
        digest, modified = _write(url, place)
        if checksum and checksum != f"sha256:{digest}":
            message = f"digest mismatch of {url}: sha256:{digest}, expected {checksum}"
            raise QueryError(message)
        place.chmod(_MODE)
        os.utime(place, (modified, modified))
        key = digest_of(["download", name, digest, modified])
        return Download(snapshot=draft.commit(f"download-{key}"), name=name, digest=key)


def _write(url: str, place: Path) -> tuple[str, int]:
    hasher = hashlib.sha256()
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=_SECONDS) as response,
            place.open("xb") as file,
        ):
            if not response.is_success:
                message = f"invalid response status {response.status_code} of {url}"
                raise QueryError(message)
            for chunk in response.iter_bytes():
                hasher.update(chunk)
                file.write(chunk)
            return hasher.hexdigest(), _modified(response.headers.get("last-modified", ""))
    except httpx.HTTPError as exc:
        message = f"failed to load {url}: {exc}"
        raise QueryError(message) from exc


def _modified(text: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError):
        return 0
