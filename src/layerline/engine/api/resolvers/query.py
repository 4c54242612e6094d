"""The fields of the root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.engine.api.fields import field
from layerline.engine.api.names import is_plain_name
from layerline.engine.api.objects import (
    CacheVolume,
    Changeset,
    Container,
    Directory,
    File,
    Host,
    Query,
)
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.platform import Platform
from layerline.engine.solve import ops
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call

VERSION = "v0.21.8"


@field("Query", "version")
def version(_self: Query, _call: Call) -> str:
    """The version of the API."""
    return VERSION


@field("Query", "defaultPlatform")
def default_platform(_self: Query, _call: Call) -> str:
    """The platform of this machine."""
    return str(Platform.of_host())


@field("Query", "node")
def node(_self: Query, call: Call, *, id: str) -> Any:
    """The object of an id."""
    return call.session.load(id)


@field("Query", "container")
def container(_self: Query, _call: Call, *, platform: str | None = None) -> Container:
    """An empty container."""
    chosen = Platform.parse(platform) if platform else Platform.of_host()
    return Container(config=ImageConfig(platform=chosen))


@field("Query", "directory")
def directory(_self: Query, _call: Call) -> Directory:
    """An empty directory."""
    return Directory()


@field("Query", "changeset")
def changeset(_self: Query, _call: Call) -> Changeset:
    """No changes."""
    return Changeset(before=Directory(), after=Directory())


@field("Query", "file")
def file(_self: Query, _call: Call, *, name: str, contents: str, permissions: int = 0o644) -> File:
    """A file of its own."""
    if not is_plain_name(name):
        message = f'file name "{name}" must not contain a directory'
        raise QueryError(message)
    path = f"/{name}"
    tree = ops.NewFile(base=ops.Scratch(), path=path, data=contents.encode(), mode=permissions)
    return File(tree=tree, path=path)


@field("Query", "host")
def host(_self: Query, _call: Call) -> Host:
    """The caller's machine."""
    return Host()


@field("Query", "cacheVolume")
def cache_volume(
    _self: Query,
    call: Call,
    *,
    key: str,
    source: Directory | None = None,
    sharing: str = "SHARED",
    owner: str = "",
) -> CacheVolume:
    """A cache volume; modules have a namespace of their own."""
    return CacheVolume(
        key=key,
        namespace=call.client.namespace,
        source=source.tree if source else None,
        source_path=source.path if source else "/",
        sharing=sharing,
        owner=owner,
    )
