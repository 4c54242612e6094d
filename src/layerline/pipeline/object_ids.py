"""Caches objects of the API by id.

The SDK requests the id of each object that is an argument of another one, and so those of all that
it is made from. Without a cache, an image of ten layers needs about a thousand requests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import dagger
from dagger import dag

T = TypeVar("T", dagger.CacheVolume, dagger.Container, dagger.Directory, dagger.Secret)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdCache:
    """Objects loaded from their ids, by a key that the caller chooses.

    `outputs` are what the installations of layers have printed, by the layers' names.
    """

    containers: dict[str, dagger.Container] = field(default_factory=dict)
    directories: dict[str, dagger.Directory] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, dagger.CacheVolume] = field(default_factory=dict)
    secrets: dict[tuple[str, str], dagger.Secret] = field(default_factory=dict)

    async def container(self, key: str, make: Callable[[], dagger.Container]) -> dagger.Container:
        """A cached container; requesting its id runs nothing."""
        if key not in self.containers:
            name = await make().id()
            loaded = dag.load_container_from_id(dagger.ContainerID(name))
            self.containers[key] = with_id(loaded, name)
        return self.containers[key]

    async def directory(self, key: str, make: Callable[[], dagger.Directory]) -> dagger.Directory:
        """A cached directory; requesting its id runs nothing."""
        if key not in self.directories:
            name = await make().id()
            loaded = dag.load_directory_from_id(dagger.DirectoryID(name))
            self.directories[key] = with_id(loaded, name)
        return self.directories[key]

    def volume(self, key: str) -> dagger.CacheVolume:
        """A cache volume, whose id is requested once."""
        if key not in self.volumes:
            self.volumes[key] = with_one_request(dag.cache_volume(key))
        return self.volumes[key]

    def secret(self, name: str, text: str) -> dagger.Secret:
        """A secret of this session, whose id is requested once."""
        if (name, text) not in self.secrets:
            self.secrets[name, text] = with_one_request(dag.set_secret(name, text))
        return self.secrets[name, text]


def with_id(loaded: T, name: str) -> T:
    """The object, which answers for its id itself: as an argument it needs no request."""

    async def known() -> str:
        return name

    loaded.id = known  # type: ignore[method-assign]
    return loaded


def with_one_request(made: T) -> T:
    """The object, which keeps its id once it was requested."""
    request = made.id
    found: list[str] = []

    async def known() -> str:
        if not found:
            found.append(await request())
        return found[0]

    made.id = known  # type: ignore[method-assign]
    return made
