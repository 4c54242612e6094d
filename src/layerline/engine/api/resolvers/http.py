"""Files from web servers, fetched once in a session."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from layerline.engine.api.names import is_plain_name
from layerline.engine.api.registry import field
from layerline.engine.api.values import File, Query, Secret, Service
from layerline.engine.image.registries import http_client
from layerline.engine.solve import download, ops
from layerline.engine.store.digest import digest_of
from layerline.errors import NotSupported, QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call

_MODE = 0o600


@field("Query", "http")
async def http(
    _self: Query,
    call: Call,
    *,
    url: str,
    name: str | None = None,
    permissions: int = _MODE,
    checksum: str | None = None,
    auth_header: Secret | None = None,
    experimental_service_host: Service | None = None,
) -> File:
    """The body of a URL, as a file named as the URL ends unless a name is given."""
    name = name or _file_name(url)
    if not is_plain_name(name):
        message = f"file name {name!r} must not contain a directory"
        raise QueryError(message)
    if experimental_service_host is not None:
        msg = "Query.http(experimentalServiceHost)"
        raise NotSupported(msg)
    session = call.session
    identity = auth_header.identity if auth_header else None

    def fetch() -> tuple[str, str]:
        headers = {}
        if identity is not None:
            headers["Authorization"] = session.secrets.plaintext(identity).decode().strip()
        wanted = download.Wanted(
            url=url, name=name, mode=permissions, checksum=checksum, headers=headers
        )
        with http_client(session.settings) as client:
            return download.download(session.store, client, wanted)

    async def make() -> tuple[str, str]:
        return await session.solver.in_thread(fetch)

    key = digest_of(["http", url, name, permissions, checksum, identity])
    digest, layer = await session.once(key, make)
    return File(tree=ops.Stored(digest=digest, snapshots=(layer,)), path=f"/{name}")


def _file_name(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        message = f"{url}: only http:// and https:// URLs can be fetched"
        raise QueryError(message)
    return posixpath.basename(unquote(parts.path).rstrip("/")) or "index"
