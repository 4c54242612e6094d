"""The session's services: ops turned into running containers, started once, reached by name.

A service is known by the key of its definition. Its container's files are evaluated like any
exec's; what it writes is dropped when it ends.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio

from layerline.engine.runtime import service as runtime_service
from layerline.engine.runtime.health import Healthcheck
from layerline.engine.solve import ops
from layerline.engine.solve.container_stage import ContainerStage
from layerline.engine.solve.keys import children
from layerline.engine.solve.service_definitions import Forward
from layerline.engine.solve.service_network import JoinedContainer, hostname_of
from layerline.engine.solve.step_context import StepContext
from layerline.errors import ExecError, QueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from layerline.engine.runtime.service import HostService, Service, ServiceSpec
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.engine.solve.result import Result
    from layerline.engine.solve.service_definitions import (
        ServiceBinding,
        ServiceCheck,
        ServiceDefinition,
    )
    from layerline.engine.solve.step_context import SolveContext

_NANOSECONDS = 1e9


async def _set_when_cancelled(cancel: threading.Event) -> None:
    """A thread does not see that the task which waits for it was cancelled."""
    try:
        await anyio.sleep_forever()
    finally:
        cancel.set()


def _tunnel_key(
    spec: ServiceDefinition,
    forwards: Sequence[Forward],
    *,
    native: bool,
) -> str:
    return repr((spec.key, tuple(forwards), native))


@dataclass(slots=True, kw_only=True, eq=False)
class Tunnel:
    """A way from ports of 127.0.0.1 to a service: pairs of (local port, port of the service)."""

    stack: contextlib.ExitStack
    ports: tuple[tuple[int, int], ...]


@dataclass(slots=True, kw_only=True, eq=False)
class SessionServices:
    """Starts and stops services for a session.

    Made when the first is needed, closed with the session.
    """

    context: SolveContext
    evaluate: Callable[[list[ops.Op]], Awaitable[list[Result]]]
    in_thread: Callable[..., Awaitable[Any]]
    _services: runtime_service.Services | None = None
    _tunnels: dict[str, Tunnel] = field(default_factory=dict)
    _ready: dict[str, ServiceSpec | HostService] = field(default_factory=dict)
    _bound: dict[str, tuple[tuple[ServiceSpec | HostService, str], ...]] = field(
        default_factory=dict
    )
    _aliases: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _by_hostname: dict[str, ServiceDefinition] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _opening: anyio.Lock = field(default_factory=anyio.Lock)

    async def start(self, spec: ServiceDefinition) -> Service:
        """The running service; returns when it is healthy."""
        definition = await self.define(spec)
        cancel = threading.Event()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_set_when_cancelled, cancel)
                service: Service = await self.in_thread(self._start, definition, cancel)
                group.cancel_scope.cancel()
        except ExceptionGroup as alone:
            raise alone.exceptions[0] from None
        return service

    def running(self, hostname: str) -> ServiceDefinition | None:
        """The service that runs under a hostname."""
        spec = self._by_hostname.get(hostname)
        if spec is None or self._services is None or not self._services.is_running(spec.key):
            return None
        return spec

    async def stop(self, spec: ServiceDefinition, *, kill: bool = False) -> None:
        """End a service; one that does not run is fine."""
        await self.in_thread(lambda: self.services().stop(spec.key, kill=kill))

    async def tunnel(
        self,
        spec: ServiceDefinition,
        forwards: Sequence[Forward],
        *,
        native: bool = False,
    ) -> Tunnel:
        """Open ports on 127.0.0.1 that lead to a service.

        Without `forwards` that is one for each exposed port; `native` adds those, each under its
        own number.
        """
        key = _tunnel_key(spec, forwards, native=native)
        async with self._opening:
            if key not in self._tunnels:
                service = await self.start(spec)
                exposed = [
                    Forward(frontend=port.port if native else 0, backend=port.port)
                    for port in spec.ports
                ]
                opened = [*forwards, *exposed] if native else list(forwards) or exposed
                if not opened:
                    message = "no ports exposed: expose one, or list the tunnel's ports"
                    raise QueryError(message)
                self._tunnels[key] = await self.in_thread(self._open, service, opened)
            return self._tunnels[key]

    async def close_tunnel(
        self,
        spec: ServiceDefinition,
        forwards: Sequence[Forward],
        *,
        native: bool = False,
    ) -> None:
        """Close the ports of a tunnel; the service that they lead to runs on."""
        async with self._opening:
            tunnel = self._tunnels.pop(_tunnel_key(spec, forwards, native=native), None)
            if tunnel is not None:
                await self.in_thread(tunnel.stack.close)

    def _open(self, service: Service, forwards: Sequence[Forward]) -> Tunnel:
        with contextlib.ExitStack() as stack:
            ports = []
            for forward in forwards:
                try:
                    number = stack.enter_context(
                        self.services().tunnel(
                            service, port=forward.backend, listen=forward.frontend
                        )
                    )
                except OSError as exc:
                    message = f"cannot listen on port {forward.frontend}: {exc.strerror}"
                    raise QueryError(message) from exc
                ports.append((number, forward.backend))
            return Tunnel(stack=stack.pop_all(), ports=tuple(ports))

    async def define(self, spec: ServiceDefinition) -> ServiceSpec | HostService:
        """The definition that the runtime starts.

        The container's files are evaluated, its own services are defined and start before it.
        """
        self._by_hostname[hostname_of(spec)] = spec
        if spec.exec is None:
            return runtime_service.HostService(
                key=spec.key,
                hostname=hostname_of(spec),
                ports={forward.frontend: forward.backend for forward in spec.forwards},
                host=spec.host,
            )
        parents = [child for child in children(spec.exec) if isinstance(child, ops.Op)]
        results = await self.evaluate(parents)
        inputs = dict(zip([parent.key for parent in parents], results, strict=True))
        bound = [(await self.define(each.service), each.alias) for each in spec.exec.bindings]
        self._bound[spec.key] = tuple(bound)
        return self._definition(spec, spec.exec, inputs)

    def _definition(
        self,
        spec: ServiceDefinition,
        exec_op: ops.Exec,
        inputs: Mapping[str, Result],
    ) -> ServiceSpec:
        progress = self.context.journal.step(f"service {hostname_of(spec)}")

        @contextlib.contextmanager
        def container() -> Iterator[ContainerSpec]:
            cancel = threading.Event()
            step = StepContext(
                context=self.context,
                services=self,
                key=spec.key,
                inputs=inputs,
                progress=progress,
                cancel=cancel,
            )
            with contextlib.ExitStack() as stack:
                joined = ContainerStage(op=exec_op, step=step, stack=stack).container()
                yield replace(joined, hosts=(*joined.hosts, *self._aliases.get(spec.key, ())))

        check = spec.healthcheck
        return runtime_service.ServiceSpec(
            key=spec.key,
            hostname=hostname_of(spec),
            container=container,
            ports=tuple(
                runtime_service.Port(
                    number=port.port,
                    protocol="udp" if port.protocol == "UDP" else "tcp",
                    check=not port.skip_healthcheck,
                )
                for port in spec.ports
            ),
            healthcheck=None if check is None else _healthcheck(check),
            rules_host=exec_op.privileged and not exec_op.guest,
            on_output=progress.write,
        )

    def _start(self, definition: ServiceSpec | HostService, cancel: threading.Event) -> Service:
        self._start_bound(definition.key, cancel)
        return self.services().start(definition, cancel)

    def _start_bound(self, key: str, cancel: threading.Event) -> None:
        """Start what a service reaches by alias, unless the service runs already."""
        bound = self._bound.get(key, ())
        if bound and not self.services().is_running(key):
            started = [(self._start(each, cancel), alias) for each, alias in bound]
            self._aliases[key] = tuple((service.address, alias) for service, alias in started)

    def services(self) -> runtime_service.Services:
        """The services of the runtime."""
        with self._lock:
            if self._services is None:
                self._services = runtime_service.Services(self.context.runtime())
            return self._services

    @contextlib.contextmanager
    def join(
        self, op: ops.Exec, container: ContainerSpec, cancel: threading.Event
    ) -> Iterator[JoinedContainer]:
        """Start the services of `op` and keep them up; gives the container on its network."""
        with contextlib.ExitStack() as stack:
            used = [
                (binding.alias, stack.enter_context(self._use_binding(binding, cancel)))
                for binding in op.bindings
            ]
            joined = stack.enter_context(self.services().join(container, used))
            yield JoinedContainer(container=joined, services=tuple(used))

    @contextlib.contextmanager
    def attach(self, container: ContainerSpec) -> Iterator[ContainerSpec]:
        """The container of module code, on a network of its own."""
        with self.services().join(self.context.with_loopback(container)) as joined:
            yield joined

    @contextlib.contextmanager
    def _use_binding(self, binding: ServiceBinding, cancel: threading.Event) -> Iterator[Service]:
        with contextlib.ExitStack() as stack:
            definition = self._ready[binding.service.key]
            self._start_bound(definition.key, cancel)
            try:
                service = stack.enter_context(self.services().use(definition, cancel))
            except ExecError as exc:
                starting = f"start {hostname_of(binding.service)}"
                raise ExecError(
                    command=exc.command,
                    code=exc.code,
                    stdout=exc.stdout,
                    stderr=exc.stderr,
                    message=str(exc).replace(starting, f"{starting} (aliased as {binding.alias})"),
                ) from exc
            yield service

    async def prepare(self, op: ops.Op) -> None:
        """Define the services of an exec before it is run; they start when it does."""
        if isinstance(op, ops.Exec):
            for binding in op.bindings:
                if binding.service.key not in self._ready:
                    self._ready[binding.service.key] = await self.define(binding.service)

    def close(self) -> None:
        """End all tunnels and services."""
        for tunnel in self._tunnels.values():
            tunnel.stack.close()
        if self._services is not None:
            self._services.close()


def _healthcheck(check: ServiceCheck) -> Healthcheck:
    healthcheck = Healthcheck(argv=check.argv)
    if check.interval:
        healthcheck = replace(healthcheck, interval=check.interval / _NANOSECONDS)
    if check.timeout:
        healthcheck = replace(healthcheck, timeout=check.timeout / _NANOSECONDS)
    if check.retries:
        healthcheck = replace(healthcheck, retries=check.retries)
    return replace(healthcheck, start_period=check.start_period / _NANOSECONDS)
