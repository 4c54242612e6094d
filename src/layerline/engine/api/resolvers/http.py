"""Files from web servers, fetched once in a session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from layerline.engine.api.fields import field
from layerline.engine.api.names import is_plain_name
from layerline.engine.api.objects import File, Query, Secret, Service
from layerline.engine.solve import ops, service_definitions
from layerline.engine.sources.http import PRIVATE, Download, DownloadRequest, fetch, file_name
from layerline.engine.store.digest import digest_of
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call

_PORTS = {"http": 80, "https": 443, "git": 9418}


@field("Query", "http")
async def http(
    _self: Query,
    call: Call,
    *,
    url: str,
    name: str = "",
    permissions: int = PRIVATE,
    checksum: str = "",
    auth_header: Secret | None = None,
    experimental_service_host: Service | None = None,
) -> File:
    """The body of a URL as a file, named by the last part of the URL unless a name is given."""
    name = name or file_name(url, "index")
    if not is_plain_name(name):
        message = f'file name "{name}" must not contain a directory'
        raise QueryError(message)
    session = call.session
    service = experimental_service_host or service_of(call, url)

    async def make() -> Download:
        headers = await _headers(call, auth_header)
        place, reach = url, call.reach
        if service is not None:
            place, headers["Host"] = await through(call, service, url)
            reach = reach and reach.with_port(urlsplit(place).port)  # the tunnel is the session's
        request = DownloadRequest(
            url=place, name=name, mode=permissions, checksum=checksum, headers=headers
        )
        return await session.solver.in_thread(
            partial(fetch, session.store, session.settings, request, reach)
        )

    identity = auth_header.identity if auth_header else None
    host = service.spec.key if service else None
    key = digest_of(["http", url, name, permissions, checksum, identity, host])
    download: Download = await session.once(key, make)
    tree = ops.Stored(digest=download.digest, snapshots=(download.snapshot,))
    return File(tree=tree, path=f"/{name}")


def service_of(call: Call, url: str) -> Service | None:
    """The service that runs in this session under the host of a URL, as its endpoint names it."""
    spec = call.session.services.running(urlsplit(url).hostname or "")
    return None if spec is None else Service(spec=spec)


async def through(call: Call, service: Service, url: str) -> tuple[str, str]:
    """The URL by which this machine reaches a service, and the host of the original URL."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if port is None:
        message = f"no default port for {url!r}: add a port to the URL"
        raise QueryError(message)
    forward = service_definitions.Forward(frontend=0, backend=port)
    tunnel = await call.session.services.tunnel(service.spec, [forward])
    here = urlunsplit(parts._replace(netloc=f"127.0.0.1:{tunnel.ports[0][0]}"))
    return here, parts.netloc


async def _headers(call: Call, authorization: Secret | None) -> dict[str, str]:
    if authorization is None:
        return {}
    read = call.session.secrets.plaintext
    value = await call.session.solver.in_thread(read, authorization.identity)
    return {"Authorization": value.decode().strip()}
