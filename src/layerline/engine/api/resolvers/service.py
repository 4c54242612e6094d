"""Services: containers and host ports under a hostname, and tunnels to and from this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from layerline.engine.api.container_paths import expand_variables
from layerline.engine.api.fields import field
from layerline.engine.api.host_paths import require_host
from layerline.engine.api.objects import Container, Host, Port, Service
from layerline.engine.api.resolvers.container_config import port_value
from layerline.engine.api.resolvers.container_exec import exec_of
from layerline.engine.solve import service_definitions
from layerline.engine.solve.service_network import hostname_of
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call
    from layerline.engine.image.config import Healthcheck
    from layerline.engine.solve.services import Tunnel

_SHELL = ("/bin/sh", "-c")


@field("Container", "asService")
def as_service(
    self: Container,
    call: Call,
    *,
    args: list[str] | None = None,
    use_entrypoint: bool = False,
    experimental_privileged_nesting: bool = False,
    insecure_root_capabilities: bool = False,
    expand: bool = False,
    no_init: bool = False,
) -> Service:
    """A service that runs the args, or else the default command."""
    argv = _command(
        self,
        [expand_variables(self, arg, expand=expand) for arg in args or ()],
        use_entrypoint=use_entrypoint,
    )
    exec_op = exec_of(
        self,
        argv,
        privileged=insecure_root_capabilities,
        nesting=experimental_privileged_nesting,
        init=not no_init,
        guest=not call.client.reaches_host,
    )
    check = self.config.healthcheck
    spec = service_definitions.ServiceDefinition(
        exec=exec_op,
        ports=self.ports,
        healthcheck=None if check is None else _check(check, self.config.shell),
    )
    return Service(spec=spec)


def _command(container: Container, args: list[str], *, use_entrypoint: bool) -> tuple[str, ...]:
    entrypoint = container.config.entrypoint or ()
    if args:
        argv = (*entrypoint, *args) if use_entrypoint else tuple(args)
    elif use_entrypoint or not container.default_args_set:
        argv = (*entrypoint, *(container.config.cmd or ()))
    else:
        argv = container.config.cmd or ()
    if not argv:
        message = "no service command has been set: give args, or the container default args"
        raise QueryError(message)
    return argv


def _check(
    check: Healthcheck, shell: tuple[str, ...] | None
) -> service_definitions.ServiceCheck | None:
    kind, *argv = check.test
    if kind == "NONE" or not argv:
        return None
    return service_definitions.ServiceCheck(
        argv=(*(shell or _SHELL), *argv) if kind == "CMD-SHELL" else tuple(argv),
        interval=check.interval,
        timeout=check.timeout,
        start_period=check.start_period,
        retries=check.retries,
    )


@field("Container", "withServiceBinding")
def with_service_binding(
    self: Container, _call: Call, *, alias: str, service: Service
) -> Container:
    """Let execs reach a service by an alias; it is started when one needs it."""
    kept = tuple(binding for binding in self.bindings if binding.alias != alias)
    binding = service_definitions.ServiceBinding(alias=alias, service=service.spec)
    return replace(self, bindings=(*kept, binding))


@field("Service", "hostname")
def hostname(self: Service, _call: Call) -> str:
    """The name by which containers reach it."""
    return hostname_of(self.spec)


@field("Service", "withHostname")
def with_hostname(self: Service, _call: Call, *, hostname: str) -> Service:
    """The same service under another name."""
    return replace(self, spec=replace(self.spec, hostname=hostname))


@field("Service", "ports")
async def ports(self: Service, call: Call) -> list[Port]:
    """The ports that it listens on; for a tunnel, those of this machine."""
    if self.tunnel is not None:
        tunnel = await _open_tunnel(self, self.tunnel, call)
        return [port_value(service_definitions.PortSpec(port=here)) for here, _ in tunnel.ports]
    return [port_value(port) for port in _ports(self)]


async def _open_tunnel(
    service: Service, forwards: tuple[service_definitions.Forward, ...], call: Call
) -> Tunnel:
    return await call.session.services.tunnel(service.spec, forwards, native=service.native_ports)


def _ports(service: Service) -> tuple[service_definitions.PortSpec, ...]:
    if service.spec.exec is None:
        return tuple(
            service_definitions.PortSpec(port=each.frontend, protocol=each.protocol)
            for each in service.spec.forwards
        )
    return service.spec.ports


@field("Service", "endpoint")
async def endpoint(self: Service, call: Call, *, port: int | None = None, scheme: str = "") -> str:
    """`host:port`, or a URL with the scheme; the first exposed port unless another is named."""
    if self.tunnel is not None:
        open_ports = [here for here, _ in (await _open_tunnel(self, self.tunnel, call)).ports]
        host = "127.0.0.1"
    else:
        open_ports = [each.port for each in _ports(self)]
        host = hostname_of(self.spec)
    if port is None and not open_ports:
        message = "no ports exposed"
        raise QueryError(message)
    address = f"{host}:{port if port is not None else open_ports[0]}"
    return f"{scheme}://{address}" if scheme else address


@field("Service", "start")
async def start(self: Service, call: Call) -> str:
    """Start it and wait until it is healthy; its id."""
    if self.tunnel is not None:
        await _open_tunnel(self, self.tunnel, call)
    else:
        await call.session.services.start(self.spec)
    return call.session.identify(self)


@field("Service", "stop")
async def stop(self: Service, call: Call, *, kill: bool = False) -> str:
    """Stop it: SIGTERM and later SIGKILL, or SIGKILL at once; its id."""
    if self.tunnel is not None:
        await call.session.services.close_tunnel(self.spec, self.tunnel, native=self.native_ports)
    else:
        await call.session.services.stop(self.spec, kill=kill)
    return call.session.identify(self)


@field("Service", "sync")
def sync(self: Service, call: Call) -> str:
    """The id of the service."""
    return call.session.identify(self)


@field("Service", "up", differs="ends with the query that started it; TCP only")
async def up(
    self: Service, call: Call, *, ports: list[dict[str, Any]] | None = None, random: bool = False
) -> None:
    """Forward ports of this machine to the service until the caller disconnects.

    The ports are those of the service unless others are given.
    """
    native = not random and not ports
    tunnel = await call.session.services.tunnel(self.spec, _forwards(ports), native=native)
    step = call.session.journal.step(f"up {hostname_of(self.spec)}")
    for here, there in tunnel.ports:
        step.write(f"http://localhost:{here} leads to port {there} of the service\n".encode())
    await anyio.sleep_forever()


@field("Container", "up", differs="ends with the query that started it; TCP only")
async def container_up(
    self: Container,
    call: Call,
    *,
    ports: list[dict[str, Any]] | None = None,
    random: bool = False,
    **settings: Any,
) -> None:
    """Run the container as a service and forward ports of this machine to it."""
    await up(as_service(self, call, **settings), call, ports=ports, random=random)


@field("Host", "service")
def host_service(
    _self: Host, call: Call, *, ports: list[dict[str, Any]], host: str = "localhost"
) -> Service:
    """Ports of this machine, or of one that it reaches, as a service for containers."""
    require_host(call, f"ports of {host}")
    spec = service_definitions.ServiceDefinition(host=host, forwards=_forwards(ports))
    if not spec.forwards:
        message = "no ports specified: a host service needs one"
        raise QueryError(message)
    return Service(spec=spec)


@field("Host", "tunnel")
def tunnel(
    _self: Host,
    call: Call,
    *,
    service: Service,
    native: bool = False,
    ports: list[dict[str, Any]] | None = None,
) -> Service:
    """A tunnel from ports of this machine to a service; free ports unless they are given."""
    require_host(call, "ports for a tunnel")
    forwards = _forwards(ports, same=False)
    if not forwards and not _ports(service):
        message = "no ports to forward: expose one, or name the ports of the tunnel"
        raise QueryError(message)
    return replace(service, tunnel=forwards, native_ports=native)


def _forwards(
    ports: list[dict[str, Any]] | None, *, same: bool = True
) -> tuple[service_definitions.Forward, ...]:
    return tuple(
        service_definitions.Forward(
            frontend=port.get("frontend") or (port["backend"] if same else 0),
            backend=port["backend"],
            protocol=port.get("protocol") or "TCP",
        )
        for port in ports or ()
    )
