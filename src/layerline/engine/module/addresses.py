"""What the text of a flag names in a session: an image, a secret, a service, a platform."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from layerline.engine.module.git_addresses import is_git
from layerline.engine.module.queries import Literal, ask, literal
from layerline.errors import LayerlineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Json

    Ask = Callable[[str], Awaitable[Json]]

_REPOSITORIES = {"GitRepository": "gitRepository", "GitRef": "gitRef"}


async def resolve(session: Session, typename: str, text: str, *, elsewhere: bool = False) -> Json:
    """The id (or, of a platform, the text) that an address stands for.

    With `elsewhere` what is fetched for it never comes from this machine.
    """
    resolver = _RESOLVERS.get(typename)
    if resolver is None:
        message = f"an argument of the type {typename} cannot be given on the command line"
        raise UsageError(message)
    if typename in _REPOSITORIES and not elsewhere and _is_local(session, text):
        chosen = _REPOSITORIES[typename]
        query = f"{{ address(value: {literal(text)}) {{ {chosen} {{ id }} }} }}"
        return (await ask(session, query))["address"][chosen]["id"]
    return await resolver(partial(ask, session, elsewhere=elsewhere), text)


def _is_local(session: Session, text: str) -> bool:
    """Whether a repository is a directory of this machine."""
    path = text.partition("#")[0]
    return not is_git(text) and (session.workdir / path).is_dir()


async def read_repository(session: Session, typename: str, directory: str) -> Json:
    """The repository in a directory, or for a GitRef what is checked out there."""
    chosen = "asGit { id }" if typename == "GitRepository" else "asGit { head { id } }"
    query = f"{{ node(id: {literal(directory)}) {{ ... on Directory {{ {chosen} }} }} }}"
    found = (await ask(session, query))["node"]["asGit"]
    return found["id"] if typename == "GitRepository" else found["head"]["id"]


async def _secret(ask: Ask, text: str) -> Json:
    scheme, colon, rest = text.partition(":")
    uri = f"{scheme}://{rest.removeprefix('//')}" if colon else f"env://{text}"
    return (await ask(f"{{ secret(uri: {literal(uri)}) {{ id }} }}"))["secret"]["id"]


async def _container(ask: Ask, text: str) -> Json:
    found = await ask(f"{{ container {{ from(address: {literal(text)}) {{ id }} }} }}")
    return found["container"]["from"]["id"]


async def _service(ask: Ask, text: str) -> Json:
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
    return (await ask(query))["host"]["service"]["id"]


async def _cache_volume(ask: Ask, text: str) -> Json:
    found = await ask(f"{{ cacheVolume(key: {literal(text)}) {{ id }} }}")
    return found["cacheVolume"]["id"]


async def _socket(ask: Ask, text: str) -> Json:
    path = text.removeprefix("unix://")
    found = await ask(f"{{ host {{ unixSocket(path: {literal(path)}) {{ id }} }} }}")
    return found["host"]["unixSocket"]["id"]


async def _platform(ask: Ask, text: str) -> Json:
    return (await ask("{ defaultPlatform }"))["defaultPlatform"] if text == "current" else text


async def _git_repository(ask: Ask, text: str) -> Json:
    found = await ask(f"{{ git(url: {literal(text)}) {{ id }} }}")
    return found["git"]["id"]


async def _git_ref(ask: Ask, text: str) -> Json:
    return (await _git(ask, text, "id"))["id"]


async def _git_directory(ask: Ask, text: str) -> Json:
    subdirectory = text.partition("#")[2].partition(":")[2]
    if not subdirectory:
        return (await _git(ask, text, "tree { id }"))["tree"]["id"]
    chosen = f"tree {{ directory(path: {literal(subdirectory)}) {{ id }} }}"
    return (await _git(ask, text, chosen))["tree"]["directory"]["id"]


async def _git_file(ask: Ask, text: str) -> Json:
    path = text.partition("#")[2].partition(":")[2]
    if not path:
        message = "no file path specified within git repository"
        raise LayerlineError(message)
    chosen = f"tree {{ file(path: {literal(path)}) {{ id }} }}"
    return (await _git(ask, text, chosen))["tree"]["file"]["id"]


async def _git(ask: Ask, text: str, chosen: str) -> Json:
    url, _, fragment = text.partition("#")
    name = fragment.partition(":")[0]
    ref = f"ref(name: {literal(name)})" if name else "head"
    found = await ask(f"{{ git(url: {literal(url)}) {{ found: {ref} {{ {chosen} }} }} }}")
    return found["git"]["found"]


_RESOLVERS: dict[str, Callable[[Ask, str], Awaitable[Any]]] = {
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
