"""What the text of a flag names in a session: an image, a secret, a service, a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from layerline.engine.module.queries import Literal, ask, literal
from layerline.errors import LayerlineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Json


async def resolve(session: Session, typename: str, text: str) -> Json:
    """The id (or, of a platform, the text) that an address stands for."""
    resolver = _RESOLVERS.get(typename)
    if resolver is None:
        message = f"an argument of the type {typename} cannot be given on the command line"
        raise UsageError(message)
    return await resolver(session, text)


async def read_repository(session: Session, typename: str, directory: str) -> Json:
    """The repository in a directory, or for a GitRef what is checked out there."""
    chosen = "asGit { id }" if typename == "GitRepository" else "asGit { head { id } }"
    query = f"{{ node(id: {literal(directory)}) {{ ... on Directory {{ {chosen} }} }} }}"
    found = (await ask(session, query))["node"]["asGit"]
    return found["id"] if typename == "GitRepository" else found["head"]["id"]


async def _secret(session: Session, text: str) -> Json:
    scheme, colon, rest = text.partition(":")
    uri = f"{scheme}://{rest.removeprefix('//')}" if colon else f"env://{text}"
    return (await ask(session, f"{{ secret(uri: {literal(uri)}) {{ id }} }}"))["secret"]["id"]


async def _container(session: Session, text: str) -> Json:
    found = await ask(session, f"{{ container {{ from(address: {literal(text)}) {{ id }} }} }}")
    return found["container"]["from"]["id"]


async def _service(session: Session, text: str) -> Json:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError as exc:
        message = f"{text}: {exc}"
        raise UsageError(message) from exc
    if parts.scheme not in ("tcp", "udp") or port is None:
        message = "unsupported service address. Must be a valid tcp:// or udp:// URL"
        raise UsageError(message)
    ports = [{"backend": port, "frontend": port, "protocol": Literal(text=parts.scheme.upper())}]
    host = parts.hostname or "localhost"
    query = f"{{ host {{ service(ports: {literal(ports)}, host: {literal(host)}) {{ id }} }} }}"
    return (await ask(session, query))["host"]["service"]["id"]


async def _cache_volume(session: Session, text: str) -> Json:
    found = await ask(session, f"{{ cacheVolume(key: {literal(text)}) {{ id }} }}")
    return found["cacheVolume"]["id"]


async def _socket(session: Session, text: str) -> Json:
    path = text.removeprefix("unix://")
    found = await ask(session, f"{{ host {{ unixSocket(path: {literal(path)}) {{ id }} }} }}")
    return found["host"]["unixSocket"]["id"]


async def _platform(session: Session, text: str) -> Json:
    return (
        (await ask(session, "{ defaultPlatform }"))["defaultPlatform"]
        if text == "current"
        else text
    )


async def _git_repository(session: Session, text: str) -> Json:
    found = await ask(session, f"{{ git(url: {literal(text)}) {{ id }} }}")
    return found["git"]["id"]


async def _git_ref(session: Session, text: str) -> Json:
    return (await _git(session, text, "id"))["id"]


async def _git_directory(session: Session, text: str) -> Json:
    subdirectory = text.partition("#")[2].partition(":")[2]
    if not subdirectory:
        return (await _git(session, text, "tree { id }"))["tree"]["id"]
    chosen = f"tree {{ directory(path: {literal(subdirectory)}) {{ id }} }}"
    return (await _git(session, text, chosen))["tree"]["directory"]["id"]


async def _git_file(session: Session, text: str) -> Json:
    path = text.partition("#")[2].partition(":")[2]
    if not path:
        message = "no file path specified within git repository"
        raise LayerlineError(message)
    chosen = f"tree {{ file(path: {literal(path)}) {{ id }} }}"
    return (await _git(session, text, chosen))["tree"]["file"]["id"]


async def _git(session: Session, text: str, chosen: str) -> Json:
    url, _, fragment = text.partition("#")
    name = fragment.partition(":")[0]
    ref = f"ref(name: {literal(name)})" if name else "head"
    found = await ask(session, f"{{ git(url: {literal(url)}) {{ found: {ref} {{ {chosen} }} }} }}")
    return found["git"]["found"]


_RESOLVERS: dict[str, Callable[[Session, str], Awaitable[Any]]] = {
    "CacheVolume": _cache_volume,
    "Container": _container,
    "Directory": _git_directory,
    "File": _git_file,
    "GitRef": _git_ref,
    "GitRepository": _git_repository,
    "Platform": _platform,
    "Secret": _secret,
    "Service": _service,
    "Socket": _socket,
}
