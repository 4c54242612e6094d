"""Containers and directories by their ids, each asked for once.

Whatever is an argument of another object is asked for its id by the SDK, and so is all that it was
made from. An image of ten layers, each made and probed on its own, would ask a thousand times.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import dagger
from dagger import dag


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdCache:
    """What is known by its id, by the name that it was asked for under."""

    containers: dict[str, dagger.Container] = field(default_factory=dict)
    directories: dict[str, dagger.Directory] = field(default_factory=dict)

    async def container(self, key: str, make: Callable[[], dagger.Container]) -> dagger.Container:
        """A container, made where it is not known yet; nothing runs for its id."""
        if key not in self.containers:
            self.containers[key] = dag.load_container_from_id(dagger.ContainerID(await make().id()))
        return self.containers[key]

    async def directory(self, key: str, make: Callable[[], dagger.Directory]) -> dagger.Directory:
        """A directory, likewise."""
        if key not in self.directories:
            self.directories[key] = dag.load_directory_from_id(
                dagger.DirectoryID(await make().id())
            )
        return self.directories[key]
