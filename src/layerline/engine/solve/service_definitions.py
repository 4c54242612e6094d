"""Services as values: what runs behind a hostname, and the ports that lead there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.solve.keys import Keyed, register, wire

if TYPE_CHECKING:
    from layerline.engine.solve.ops import Exec


@register("PortSpec")
@dataclass(frozen=True, kw_only=True)
class PortSpec:
    """A port that a service listens on."""

    port: int
    protocol: str = "TCP"
    description: str | None = None
    skip_healthcheck: bool = False


@register("Forward")
@dataclass(frozen=True, kw_only=True)
class Forward:
    """A port of the host behind a port of a service, or the reverse."""

    frontend: int
    backend: int
    protocol: str = "TCP"


@register("ServiceCheck")
@dataclass(frozen=True, kw_only=True)
class ServiceCheck:
    """A command that succeeds inside a service when it is ready.

    Times in nanoseconds, 0 for the default.
    """

    argv: tuple[str, ...] = field(metadata=wire("args"))
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0


@register("ServiceSpec")
@dataclass(frozen=True, kw_only=True)
class ServiceDefinition(Keyed):
    """What runs behind a hostname.

    It is a container's process (`exec`), or ports of the host (`host`, `forwards`). Without a
    `healthcheck` the ports are dialled.
    """

    exec: Exec | None = None
    host: str = ""
    forwards: tuple[Forward, ...] = ()
    ports: tuple[PortSpec, ...] = ()
    hostname: str = ""
    healthcheck: ServiceCheck | None = None


@register("ServiceBinding")
@dataclass(frozen=True, kw_only=True)
class ServiceBinding:
    """A service under an alias."""

    alias: str
    service: ServiceDefinition
