"""The description of a container: its layers, mounts, user, arguments and streams.

Invariant: values only. Paths are of the host and absolute; targets are absolute paths inside the
container, and are resolved there, never on the host.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from layerline.engine.runtime.confined_process import ConfinedProcess
    from layerline.engine.runtime.user_ids import UserIds

    Serve = Callable[[socket.socket], AbstractContextManager[None]]

HOSTNAME = "dagger"
SPOOL_LIMIT = 1 << 20  # bytes of one stream that are kept in memory; what is more goes to a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Layers seen as one tree. `lower` is bottom first; without `upper` it is read-only.

    `upper` is an empty directory that becomes the new layer; `work` is empty and on the same
    file system.
    """

    lower: tuple[Path, ...]
    upper: Path | None = None
    work: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or directory of the host; `options` are nosuid, nodev and noexec."""

    target: str
    source: Path
    readonly: bool = False
    options: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMount:
    """A directory or a file of an overlay of its own; what is written lands in its `upper`.

    `subpath` is what of the tree is mounted; it may be a file.
    """

    target: str
    overlay: Overlay
    subpath: str = "/"
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A directory that outlives the container. `owner` (user[:group]) is given to its root."""

    target: str
    source: Path
    owner: str = ""
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """An empty directory in memory; `size` in bytes."""

    target: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file that exists in memory only. `owner` is user[:group] of the container."""

    target: str
    data: bytes = field(repr=False)
    owner: str = ""
    mode: int = 0o400


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """A unix socket that leads to one of the host. `owner` is user[:group] of the container.

    What it leads to is dialled for each connection.
    """

    target: str
    host: Path
    owner: str = ""
    mode: int = 0o600


Mount = Bind | LayerMount | Volume | Tmpfs | SecretFile | Socket


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """A user namespace by its file, and the ids that it has."""

    namespace: Path
    ids: UserIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network namespace to run in, by its file; without one a container uses the host's.

    `users` is the user namespace that it belongs to, and that the container joins.
    """

    namespace: Path
    users: Users | None = None
    resolv_conf: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container.

    `env` is complete but for the default PATH, HOME and proxies, which are added when absent; a
    later pair wins over an earlier one of the same name. `hosts` are (address, name) pairs.
    `secrets` are values to be scrubbed from the outputs. `init` puts a reaping process in front
    of the program. A relative redirect is under `cwd`. `loopback` are ports of the host's loopback
    that are on the container's as well. `served` are ports of the container's own loopback, each
    with what serves a listening socket and closes it. `process` gets the container once it runs.
    A privileged `guest` is so over its own namespaces, not over the host. `same_ids` asks for a
    user namespace also where its ids cannot be shifted. `gpus` are names of the Container Device
    Interface.
    """

    rootfs: Overlay
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: str = "/"
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    stdin: bytes | None = field(default=None, repr=False)
    redirect_stdin: str | None = None
    redirect_stdout: str | None = None
    redirect_stderr: str | None = None
    privileged: bool = False
    guest: bool = False
    init: bool = True
    hostname: str = HOSTNAME
    hosts: tuple[tuple[str, str], ...] = ()
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    network: Network | None = None
    loopback: tuple[int, ...] = ()
    served: tuple[tuple[int, Serve], ...] = ()
    process: ConfinedProcess | None = None
    same_ids: bool = False
    gpus: tuple[str, ...] = ()

    @property
    def rules_host(self) -> bool:
        """Whether its root is the host's: only what the user asked for is privileged so far."""
        return self.privileged and not self.guest


class Output:
    """What a program wrote to one stream: in memory while it is small, else in an unnamed file."""

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (closed by `close`)
            SPOOL_LIMIT, dir=str(directory)
        )
        self._size = 0
        self._at_end = True
        self._same_as: Output | None = None

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._size if self._same_as is None else self._same_as.size

    def write(self, data: bytes) -> None:
        """Append."""
        if (source := self._same_as) is not None:
            self._same_as = None
            for piece in iter(partial(source.reader().read, SPOOL_LIMIT), b""):
                self.write(piece)
        if not self._at_end:
            self._file.seek(0, os.SEEK_END)
            self._at_end = True
        self._file.write(data)
        self._size += len(data)

    def copy(self, source: Output) -> None:
        """Hold what `source` holds, and gets, until something else is written here."""
        self._same_as = source

    def is_copy(self, source: Output) -> bool:
        """Whether this is a copy of `source` and nothing else."""
        return self._same_as is source

    def read(self, limit: int = -1) -> bytes:
        """The first `limit` bytes, or all of them."""
        return self.reader().read(limit)

    def tail(self, limit: int) -> bytes:
        """The last `limit` bytes."""
        reader = self.reader()
        reader.seek(max(0, self.size - limit))
        return reader.read()

    def reader(self) -> IO[bytes]:
        """The stream, rewound, to be read in pieces; it stays this object's to close."""
        if self._same_as is not None:
            return self._same_as.reader()
        self._at_end = False
        self._file.seek(0)
        return cast("IO[bytes]", self._file)

    def close(self) -> None:
        """Drop the bytes."""
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOutcome:
    """How a program ended: 128+n when signal n killed it. Close it when the outputs are stored.

    `limit` says which limit it met, if it failed and met one.
    """

    code: int
    stdout: Output
    stderr: Output
    combined: Output
    limit: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def status(self) -> str:
        """The exit code in words, with the limit that it was for."""
        return f"exit code: {self.code}" + (f": {self.limit}" if self.limit else "")

    def close(self) -> None:
        """Drop the outputs."""
        for output in (self.stdout, self.stderr, self.combined):
            output.close()
