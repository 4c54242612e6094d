"""The objects of the API as frozen values: configuration is data, files are lazy ops.

A value's id is the digest of its document, so equal chains have equal ids and a value can be kept
and read back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from layerline.engine.image.config import Healthcheck, History, ImageConfig
from layerline.engine.image.platform import Platform
from layerline.engine.solve.keys import SPARSE, WRITTEN, register, wire
from layerline.engine.solve.ops import (
    Exec,
    Mount,
    Op,
    Scratch,
    SecretRef,
)

if TYPE_CHECKING:
    from layerline.engine.solve.service_definitions import (
        Forward,
        PortSpec,
        ServiceBinding,
        ServiceDefinition,
    )

register("ImageConfig")(ImageConfig)
register("Healthcheck")(Healthcheck)
register("History")(History)
register("Platform")(Platform)


@dataclass(frozen=True, kw_only=True)
class Value:
    """An object of the API; `typename` is its GraphQL type."""

    typename: ClassVar[str]


@register("Query")
@dataclass(frozen=True, kw_only=True)
class Query(Value):
    """The root."""

    typename: ClassVar[str] = "Query"


@register("Directory")
@dataclass(frozen=True, kw_only=True)
class Directory(Value):
    """The directory `path` of a tree."""

    typename: ClassVar[str] = "Directory"
    tree: Op = field(default_factory=Scratch)
    path: str = "/"


@register("File")
@dataclass(frozen=True, kw_only=True)
class File(Value):
    """The file `path` of a tree."""

    typename: ClassVar[str] = "File"
    tree: Op
    path: str


@register("TerminalCommand")
@dataclass(frozen=True, kw_only=True)
class TerminalCommand:
    """What a container's terminal runs unless another program is named."""

    args: tuple[str, ...]
    privileged: bool = False
    nesting: bool = False
    guest: bool = field(default=False, metadata=WRITTEN)


@register("Socket")
@dataclass(frozen=True, kw_only=True)
class Socket(Value):
    """A unix socket of the caller's machine."""

    typename: ClassVar[str] = "Socket"
    path: str


@register("Container")
@dataclass(frozen=True, kw_only=True)
class Container(Value):
    """An image's configuration over a lazy root file system, with what is mounted for execs.

    `rootfs` is None for a container without files. `last_exec` is the exec that stdout, stderr and
    exitCode speak of. `proxies` are the variables of a Dockerfile's RUN that no cache counts.
    """

    typename: ClassVar[str] = "Container"
    config: ImageConfig
    rootfs: Op | None = None
    mounts: tuple[Mount, ...] = ()
    secret_env: tuple[tuple[str, SecretRef], ...] = ()
    volatile: tuple[tuple[str, str], ...] = ()
    proxies: tuple[tuple[str, str], ...] = field(default=(), metadata=WRITTEN)
    bindings: tuple[ServiceBinding, ...] = ()
    ports: tuple[PortSpec, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    default_args_set: bool = False
    terminal_command: TerminalCommand | None = None
    last_exec: Exec | None = field(default=None, metadata=wire("last"))
    image_ref: str = ""
    gpus: tuple[str, ...] = field(default=(), metadata=SPARSE)


@register("EnvVariable")
@dataclass(frozen=True, kw_only=True)
class EnvVariable(Value):
    """A variable of a container or an env file."""

    typename: ClassVar[str] = "EnvVariable"
    name: str
    value: str


@register("Label")
@dataclass(frozen=True, kw_only=True)
class Label(Value):
    """A label of an image."""

    typename: ClassVar[str] = "Label"
    name: str
    value: str


@register("Port")
@dataclass(frozen=True, kw_only=True)
class Port(Value):
    """A port that a container exposes."""

    typename: ClassVar[str] = "Port"
    port: int
    protocol: str = "TCP"
    description: str | None = None
    experimental_skip_healthcheck: bool = False


@register("HealthcheckConfig")
@dataclass(frozen=True, kw_only=True)
class HealthcheckConfig(Value):
    """A docker health check; times are Go durations such as `30s`."""

    typename: ClassVar[str] = "HealthcheckConfig"
    args: tuple[str, ...]
    shell: bool = False
    interval: str = "0s"
    timeout: str = "0s"
    start_period: str = "0s"
    start_interval: str = "0s"
    retries: int = 0


@register("Stat")
@dataclass(frozen=True, kw_only=True)
class Stat(Value):
    """What is known of a path: size in bytes, permissions as mode bits, file type."""

    typename: ClassVar[str] = "Stat"
    name: str
    size: int
    permissions: int
    file_type: str


@register("CacheVolume")
@dataclass(frozen=True, kw_only=True)
class CacheVolume(Value):
    """A cache volume by its identity: key, namespace, seed, sharing and owner."""

    typename: ClassVar[str] = "CacheVolume"
    key: str
    namespace: str = "mainClient"
    source: Op | None = None
    source_path: str = "/"
    sharing: str = "SHARED"
    owner: str = ""


@register("Secret")
@dataclass(frozen=True, kw_only=True)
class Secret(Value):
    """A secret by its identity; the session knows how to read it."""

    typename: ClassVar[str] = "Secret"
    identity: str
    name: str = ""
    uri: str = ""


@register("Host")
@dataclass(frozen=True, kw_only=True)
class Host(Value):
    """The caller's machine."""

    typename: ClassVar[str] = "Host"


@register("Service")
@dataclass(frozen=True, kw_only=True)
class Service(Value):
    """A service: something that listens, under a hostname.

    With a `tunnel` it is a way to the service from ports of this machine: those named, or else one
    for each exposed port, of the same number with `native_ports`.
    """

    typename: ClassVar[str] = "Service"
    spec: ServiceDefinition
    tunnel: tuple[Forward, ...] | None = None
    native_ports: bool = False


@register("Changeset")
@dataclass(frozen=True, kw_only=True)
class Changeset(Value):
    """The changes from one directory to another."""

    typename: ClassVar[str] = "Changeset"
    before: Directory
    after: Directory
