"""Caches containers and directories by id.

The SDK requests the id of each object that is an argument of another one, and so those of all that
it is made from. Without a cache, an image of ten layers needs about a thousand requests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import dagger
from dagger import dag


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdCache:
    """Objects loaded from their ids, by a key that the caller chooses."""

    containers: dict[str, dagger.Container] = field(default_factory=dict)
    directories: dict[str, dagger.Directory] = field(default_factory=dict)

    async def container(self, key: str, make: Callable[[], dagger.Container]) -> dagger.Container:
        """A cached container; requesting its id runs nothing."""
        if key not in self.containers:
            self.containers[key] = dag.load_container_from_id(dagger.ContainerID(await make().id()))
        return self.containers[key]

    async def directory(self, key: str, make: Callable[[], dagger.Directory]) -> dagger.Directory:
        """A cached directory; requesting its id runs nothing."""
        if key not in self.directories:
            self.directories[key] = dag.load_directory_from_id(
                dagger.DirectoryID(await make().id())
            )
        return self.directories[key]
