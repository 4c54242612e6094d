"""How a step sees the session's services: as the network that its container joins."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from layerline.errors import ExecError

if TYPE_CHECKING:
    import threading
    from contextlib import AbstractContextManager

    from layerline.engine.runtime.service import Service
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.engine.solve import ops
    from layerline.engine.solve.service_definitions import ServiceDefinition
    from layerline.errors import LayerlineError


_HOSTNAME_BYTES = 8


def hostname_of(spec: ServiceDefinition) -> str:
    """The name that was given, or one that the definition gives."""
    if spec.hostname:
        return spec.hostname
    digest = bytes.fromhex(spec.key)[:_HOSTNAME_BYTES]
    return base64.b32hexencode(digest).decode().rstrip("=").lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedContainer:
    """A container on the network of its services, which are named by their aliases."""

    container: ContainerSpec
    services: tuple[tuple[str, Service], ...] = ()

    def failure(self) -> LayerlineError | None:
        """Why the container cannot go on: a service that it needs has ended."""
        for alias, service in self.services:
            if service.ended.is_set() and (known := service.failure) is not None:
                return ExecError(
                    command=known.command,
                    code=known.code,
                    stdout=known.stdout,
                    stderr=known.stderr,
                    message=f"service {service.spec.hostname} (aliased as {alias}) exited: "
                    f"exit code: {known.code}",
                )
        return None


class ServiceNetwork(Protocol):
    """Brings the services of an exec up and keeps them up while its container runs."""

    def join(
        self, op: ops.Exec, container: ContainerSpec, cancel: threading.Event
    ) -> AbstractContextManager[JoinedContainer]:
        """Start the services of `op` and keep them up; gives the container on their network."""
