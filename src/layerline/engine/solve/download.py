"""Files from web servers, put into layers.

Invariant: what was read to its end and has the checksum that was asked for is kept, else nothing.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

from layerline.engine.store.digest import digest_of
from layerline.engine.store.overlay import EPOCH
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerline.engine.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file as it is asked for; `checksum` is `sha256:` and hexadecimal digits."""

    url: str
    name: str
    mode: int
    checksum: str | None = None
    headers: Mapping[str, str]


def download(store: Store, client: httpx.Client, wanted: Wanted) -> tuple[str, str]:
    """The digest of a layer that holds the file, and the layer's name."""
    with store.snapshots.draft() as draft:
        target = draft.fs / wanted.name
        checksum, mtime = _fetch(client, wanted, target)
        if wanted.checksum not in (None, checksum):
            message = f"checksum mismatch: {wanted.url} is {checksum}, not {wanted.checksum}"
            raise QueryError(message)
        target.chmod(wanted.mode)
        os.utime(target, (mtime, mtime))
        os.utime(draft.fs, (EPOCH, EPOCH))
        digest = digest_of(["http", checksum, wanted.name, wanted.mode, mtime])
        return digest, draft.commit(f"http-{digest}")


def _fetch(client: httpx.Client, wanted: Wanted, target: Path) -> tuple[str, int]:
    """Write the body; its checksum, and when the server says that it was changed."""
    hasher = hashlib.sha256()
    headers = dict(wanted.headers)
    try:
        with (
            client.stream("GET", wanted.url, headers=headers, follow_redirects=True) as response,
            target.open("wb") as file,
        ):
            if response.status_code != httpx.codes.OK:
                status = f"{response.status_code} {response.reason_phrase}"
                message = f"invalid response status: {status}: GET {wanted.url}"
                raise QueryError(message)
            for chunk in response.iter_bytes():
                hasher.update(chunk)
                file.write(chunk)
            modified = response.headers.get("Last-Modified", "")
    except httpx.HTTPError as exc:
        message = f"GET {wanted.url}: {exc}"
        raise QueryError(message) from exc
    return f"sha256:{hasher.hexdigest()}", _seconds(modified)


def _seconds(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return EPOCH
