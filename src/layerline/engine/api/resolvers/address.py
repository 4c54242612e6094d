"""Addresses: texts that name a container, directory, secret or other object outside the session.

The command line's arguments come through here, so the same texts mean the same things there.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, Unpack
from urllib.parse import urldefrag, urlsplit

from layerline.engine.api.fields import FIELDS, field
from layerline.engine.api.objects import (
    Container,
    Directory,
    File,
    Host,
    Query,
    Secret,
    Service,
    Value,
)
from layerline.engine.api.resolvers import git
from layerline.engine.solve.keys import register
from layerline.errors import NotSupported, QueryError

if TYPE_CHECKING:
    from layerline.engine.api.resolvers.git import GitRef, GitRepository
    from layerline.engine.api.session import Call


@register("Address")
@dataclass(frozen=True, kw_only=True)
class Address(Value):
    """A text that is yet to be understood."""

    typename: ClassVar[str] = "Address"
    value: str


class Options(TypedDict, total=False):
    """Which files of a local directory are meant, as `Host.directory` has it."""

    exclude: list[str]
    include: list[str]
    gitignore: bool
    no_cache: bool


@dataclass(frozen=True, slots=True)
class _GitAddress:
    """`URL#ref:path`."""

    url: str
    ref: str
    path: str

    @classmethod
    def parse(cls, text: str) -> _GitAddress | None:
        """The parts, or None for a text that is not the URL of a repository."""
        url, fragment = urldefrag(text)
        if not git.is_git_url(url):
            return None
        ref, _, path = fragment.partition(":")
        return cls(url, ref, path.strip("/"))

    async def reference(self, call: Call) -> GitRef:
        """The ref that is named, HEAD by default."""
        repository = git.git(Query(), call, url=self.url)
        return await git.ref(repository, call, name=self.ref or "HEAD")


@field("Query", "address")
def address(_self: Query, _call: Call, *, value: str) -> Address:
    """Take a text as an address."""
    if not value:
        message = "resource cannot have empty address"
        raise QueryError(message)
    return Address(value=value)


@field("Address", "container")
async def container(self: Address, call: Call) -> Container:
    """The container of an image reference."""
    empty = await _ask(call, Query(), "container")
    found: Container = await _ask(call, empty, "from", address=self.value)
    return found


@field("Address", "directory")
async def directory(self: Address, call: Call, **options: Unpack[Options]) -> Directory:
    """A directory of the host, or of a repository at `URL#ref:path`."""
    there = _GitAddress.parse(self.value)
    if there is None:
        path = _local(self.value)
        found: Directory = await _ask(call, Host(), "directory", path=path, **options)
        return found
    tree = await git.tree(await there.reference(call), call)
    if there.path:
        tree = await _ask(call, tree, "directory", path=there.path)
    return tree


@field("Address", "file")
async def file(self: Address, call: Call, **options: Unpack[Options]) -> File:
    """A file of the host, or of a repository at `URL#ref:path`."""
    there = _GitAddress.parse(self.value)
    found: File
    if there is None:
        no_cache = options.get("no_cache", False)
        found = await _ask(call, Host(), "file", path=_local(self.value), no_cache=no_cache)
        return found
    if not there.path:
        message = "no file path specified within git repository"
        raise QueryError(message)
    tree = await git.tree(await there.reference(call), call)
    found = await _ask(call, tree, "file", path=there.path)
    return found


@field("Address", "gitRepository")
async def git_repository(self: Address, call: Call) -> GitRepository:
    """A repository at a URL or in a directory of the host."""
    there = _GitAddress.parse(self.value)
    if there is None:
        return git.as_git(await _local_directory(call, self.value), call)
    for part, label in ((there.ref, "ref"), (there.path, "subdir")):
        if part:
            message = f"git repository address cannot contain {label}"
            raise QueryError(message)
    return git.git(Query(), call, url=there.url)


@field("Address", "gitRef")
async def git_ref(self: Address, call: Call) -> GitRef:
    """A ref of a repository, HEAD by default."""
    there = _GitAddress.parse(self.value)
    if there is None:
        path, _, name = self.value.partition("#")
        repository = git.as_git(await _local_directory(call, path), call)
        return await git.ref(repository, call, name=name or "HEAD")
    if there.path:
        message = "git ref address cannot contain subdir"
        raise QueryError(message)
    return await there.reference(call)


@field("Address", "secret")
async def secret(self: Address, call: Call) -> Secret:
    """A secret by URI, also as `scheme:value`; a name alone is that of a variable."""
    uri = self.value if ":" in self.value else f"env://{self.value}"
    scheme, _, rest = uri.partition(":")
    if not rest.startswith("//"):
        uri = f"{scheme}://{rest}"
    found: Secret = await _ask(call, Query(), "secret", uri=uri)
    return found


@field("Address", "service")
async def service(self: Address, call: Call) -> Service:
    """What listens on `tcp://host:port` or `udp://host:port`, as the host sees it."""
    try:
        parts = urlsplit(self.value)
        port = parts.port
    except ValueError as exc:
        message = f"{self.value}: {exc}"
        raise QueryError(message) from exc
    if parts.scheme not in ("tcp", "udp"):
        message = (
            f'unsupported service address: "{parts.scheme}". Must be a valid tcp:// or udp:// URL'
        )
        raise QueryError(message)
    if port is None:
        message = f"address {parts.netloc}: missing port in address"
        raise QueryError(message)
    ports = [{"frontend": port, "backend": port, "protocol": parts.scheme.upper()}]
    found: Service = await _ask(call, Host(), "service", host=parts.hostname, ports=ports)
    return found


@field("Address", "socket")
async def socket(self: Address, call: Call) -> Value:
    """A unix socket of the host, by its path or as `unix://path`."""
    path = self.value.removeprefix("unix://")
    found: Value = await _ask(call, Host(), "unixSocket", path=path)
    return found


async def _ask(call: Call, value: Value, name: str, **arguments: Any) -> Any:
    """What a field of the API answers; modules may not reach the host through an address either."""
    known = FIELDS.get((value.typename, name))
    if known is None:
        msg = f"{value.typename}.{name}"
        raise NotSupported(msg)
    answer = known.resolve(value, call, **arguments)
    return await answer if inspect.isawaitable(answer) else answer


async def _local_directory(call: Call, text: str) -> Directory:
    found: Directory = await _ask(call, Host(), "directory", path=_local(text))
    return found


def _local(text: str) -> str:
    return text.removeprefix("file://")
