"""Services: containers, or ports of the host, that other containers reach by name.

Invariant: one service per key and session, however many ask; it is handed out only when it is
healthy; what starts one also ends it, at the latest with the session.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from layerline.engine.runtime.container_loopback import open_loopback
from layerline.engine.runtime.forward import forward
from layerline.engine.runtime.health import Healthcheck, HealthChecks
from layerline.engine.runtime.network import SessionNetwork, listen_in
from layerline.engine.runtime.stdio import STDERR, STDOUT
from layerline.errors import Cancelled, ExecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from layerline.engine.runtime.container import Runtime
    from layerline.engine.runtime.network import Attachment
    from layerline.engine.runtime.runc import Container
    from layerline.engine.runtime.spec import ContainerSpec, ExecOutcome, Network
    from layerline.engine.runtime.user_ids import UserIds

Hosts = tuple[tuple[str, str], ...]

_LINGER = 10.0  # seconds a service outlives its last user
_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_DIAL = 1.0
_RECENT = 4096  # bytes of output that say why a port does not answer
_PORT_SECONDS = 120.0  # for a service to listen on its ports; a health check has times of its own
_TAIL = 100 << 10  # bytes of output in an error
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port that a service listens on."""

    number: int
    protocol: Literal["tcp", "udp"] = "tcp"
    check: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service to start; `container` creates its container and discards it when it has ended.

    `rules_host` is that of its container, whose network is made before it.
    """

    key: str
    hostname: str
    container: Callable[[], AbstractContextManager[ContainerSpec]]
    ports: tuple[Port, ...] = ()
    healthcheck: Healthcheck | None = None
    rules_host: bool = False
    on_output: Callable[[bytes, int], None] = lambda _data, _stream: None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostService:
    """Ports of this machine, to be reached from containers: those of the service to ours."""

    key: str
    hostname: str
    ports: Mapping[int, int]
    host: str = "localhost"


class Service:
    """One that runs; `ended` is set when its program has ended, and `failure` then says how."""

    def __init__(self, spec: ServiceSpec | HostService, cancel: threading.Event) -> None:
        self.spec = spec
        self.address = ""
        self.ended = threading.Event()
        self.failure: ExecError | None = None
        self.users = 0
        self.idle_since = 0.0
        self._killed = threading.Event()
        self._cancel = cancel
        self._container: Container | None = None
        self._secrets: tuple[bytes, ...] = ()
        self._command: tuple[str, ...] = ()
        self._tails = {STDOUT: b"", STDERR: b""}
        self._stack = ExitStack()

    def start(self, runtime: Runtime, network: SessionNetwork, hosts: Hosts) -> None:
        """Start and return when it is healthy; one that is not, or is cancelled, is ended again."""
        with ExitStack() as stack:
            ids = None
            if not isinstance(self.spec, HostService):
                ids = runtime.ids(privileged=self.spec.rules_host)
            attached = stack.enter_context(network.attach(ids))
            self.address = attached.address
            if isinstance(self.spec, HostService):
                for port, backend in self.spec.ports.items():
                    dial = partial(socket.create_connection, (self.spec.host, backend))
                    listener = listen_in(attached.network.namespace, port)
                    stack.enter_context(forward(listener, dial))
            else:
                work = partial(self._serve, runtime, attached, hosts, self.spec)
                thread = threading.Thread(target=work, name=f"service {self.spec.hostname}")
                thread.start()
                stack.callback(thread.join)
                stack.callback(self._killed.set)
                self._wait_until_healthy(network, self.spec)
            self._stack = stack.pop_all()

    def stop(self, *, kill: bool) -> None:
        """End it: with SIGTERM and, after a while, SIGKILL; or with SIGKILL at once."""
        if self._container is not None and not kill:
            self._container.signal(signal.SIGTERM)
            self.ended.wait(_GRACE)
        self._stack.close()

    def _serve(
        self, runtime: Runtime, attached: Attachment, hosts: Hosts, spec: ServiceSpec
    ) -> None:
        try:
            with spec.container() as container:
                joined = replace(
                    container, network=attached.network, hosts=(*container.hosts, *hosts)
                )
                self._secrets, self._command = joined.secrets, joined.argv
                with (
                    open_loopback(attached.network.namespace, joined),
                    runtime.run(
                        joined,
                        on_output=partial(self._take, spec),
                        cancel=self._killed,
                        on_start=self._set_container,
                    ) as outcome,
                ):
                    self.failure = _exit_error(spec, joined, outcome)
        except Cancelled:
            pass  # stopped on purpose
        except ExecError as exc:
            self.failure = exc
        finally:
            self.ended.set()

    def _take(self, spec: ServiceSpec, data: bytes, stream: int) -> None:
        self._tails[stream] = (self._tails[stream] + data)[-_RECENT:]
        spec.on_output(data, stream)

    def _set_container(self, container: Container) -> None:
        self._container = container

    def _wait_until_healthy(self, network: SessionNetwork, spec: ServiceSpec) -> None:
        if spec.healthcheck is not None:
            checks = HealthChecks(spec.hostname, spec.healthcheck, given_up=self._is_over)
            self._until(
                lambda: checks.is_healthy(self._container, self._secrets),
                spec.healthcheck.interval,
            )
            return
        for port in spec.ports:
            if port.check and port.protocol == "tcp":
                answers = partial(self._answers, network, port.number)
                self._until(answers, _FIRST_PAUSE, port=port.number)
        if self.ended.is_set():
            self._raise_failure()

    def _is_over(self) -> bool:
        return self.ended.is_set() or self._cancel.is_set()

    def _until(self, ready: Callable[[], bool], pause: float, *, port: int | None = None) -> None:
        deadline = time.monotonic() + _PORT_SECONDS
        while not ready():
            if self.ended.wait(pause):
                self._raise_failure()
            if self._cancel.is_set():
                message = f"the start of {self.spec.hostname} was cancelled"
                raise Cancelled(message)
            if port is not None and time.monotonic() > deadline:
                raise self._port_error(port)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _port_error(self, port: int) -> ExecError:
        return ExecError(
            command=self._command,
            code=-1,
            stdout=self._tails[STDOUT].decode(errors="replace"),
            stderr=self._tails[STDERR].decode(errors="replace"),
            message=f"start {self.spec.hostname}: nothing listens on port {port} after "
            f"{_PORT_SECONDS:g} s: expose the port that the service listens on, or skip its check",
        )

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure
        message = f"{self.spec.hostname} was stopped before it was ready"
        raise Cancelled(message)

    def _answers(self, network: SessionNetwork, port: int) -> bool:
        try:
            network.dial(self.address, port, timeout=_DIAL).close()
        except OSError:
            return False
        return True

    @property
    def container(self) -> Container | None:
        """Its container, while it runs."""
        return None if self.ended.is_set() else self._container


class Services:
    """The services of one session, and the network that they share with their users."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stack = ExitStack()
        self._network: SessionNetwork | None = None
        self._lock = threading.Lock()
        self._starting: dict[str, threading.Lock] = {}
        self._running: dict[str, Service] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all services and take the network away."""
        for key in list(self._running):
            self.stop(key, kill=True)
        self._stack.close()
        self._network = None

    def start(
        self, spec: ServiceSpec | HostService, cancel: threading.Event | None = None
    ) -> Service:
        """The running service of this key, started if need be; it runs until it is stopped."""
        return self._acquire(spec, cancel or threading.Event())

    @contextmanager
    def use(self, spec: ServiceSpec | HostService, cancel: threading.Event) -> Iterator[Service]:
        """The running service; it may be stopped some time after its last user is done."""
        service = self._acquire(spec, cancel)
        try:
            yield service
        finally:
            self._release(service)

    def is_running(self, key: str) -> bool:
        """Whether a service was started and has not ended."""
        with self._lock:
            service = self._running.get(key)
        return service is not None and not service.ended.is_set()

    def stop(self, key: str, *, kill: bool = False) -> None:
        """End a service; one that does not run is fine."""
        with self._lock:
            service = self._running.pop(key, None)
        if service is not None:
            service.stop(kill=kill)

    @contextmanager
    def join(
        self, spec: ContainerSpec, bindings: Sequence[tuple[str, Service]] = ()
    ) -> Iterator[ContainerSpec]:
        """The container on a network of its own: services by name, bound ones by alias as well."""
        aliases = tuple((service.address, alias) for alias, service in bindings)
        ids = self._runtime.ids(privileged=spec.rules_host, same=spec.same_ids)
        with (
            self.network(ids, fresh=spec.privileged) as network,
            open_loopback(network.namespace, spec),
        ):
            yield replace(spec, network=network, hosts=(*spec.hosts, *self._hosts(), *aliases))

    @contextmanager
    def network(self, ids: UserIds | None = None, *, fresh: bool = False) -> Iterator[Network]:
        """A network for one program. It belongs to a user namespace with `ids`.

        A `fresh` one, for a program that may configure it, serves nobody else.
        """
        network = self._open_network()
        if fresh:
            with network.attach(ids, isolated=True) as attached:
                yield attached.network
        else:
            with network.lend(ids) as lent:
                yield lent

    @contextmanager
    def tunnel(self, service: Service, *, port: int, listen: int = 0) -> Iterator[int]:
        """A port of 127.0.0.1 that leads to a port of the service; gives its number."""
        network = self._open_network()
        listener = socket.create_server(("127.0.0.1", listen))
        number = int(listener.getsockname()[1])
        with forward(listener, partial(network.dial, service.address, port, timeout=_DIAL)):
            yield number

    def _acquire(self, spec: ServiceSpec | HostService, cancel: threading.Event) -> Service:
        with self._lock:
            turn = self._starting.setdefault(spec.key, threading.Lock())
        with turn:
            with self._lock:
                service = self._running.get(spec.key)
                if service is not None and not service.ended.is_set():
                    service.users += 1
                    return service
            self.stop(spec.key, kill=True)
            service = Service(spec, cancel)
            service.start(self._runtime, self._open_network(), self._hosts())
            with self._lock:
                service.users = 1
                self._running[spec.key] = service
            return service

    def _release(self, service: Service) -> None:
        with self._lock:
            service.users -= 1
            service.idle_since = time.monotonic()
        timer = threading.Timer(_LINGER, self._sweep)
        timer.daemon = True
        timer.start()

    def _sweep(self) -> None:
        """Stop what nobody has used for a while."""
        now = time.monotonic()
        with self._lock:
            idle = [
                service
                for service in self._running.values()
                if service.users == 0 and now - service.idle_since >= _LINGER
            ]
            for service in idle:
                del self._running[service.spec.key]
        for service in idle:
            service.stop(kill=False)

    def _hosts(self) -> Hosts:
        with self._lock:
            return tuple(
                (service.address, service.spec.hostname) for service in self._running.values()
            )

    def _open_network(self) -> SessionNetwork:
        with self._lock:
            if self._network is None:
                state = self._runtime.state / "network"
                state.mkdir()
                self._network = self._stack.enter_context(SessionNetwork.create(state))
            return self._network


def _exit_error(spec: ServiceSpec, container: ContainerSpec, outcome: ExecOutcome) -> ExecError:
    ended = outcome.code == 0
    reason = "service exited before healthcheck" if ended else outcome.status
    return ExecError(
        command=container.argv,
        code=outcome.code,
        stdout=outcome.stdout.tail(_TAIL).decode(errors="replace"),
        stderr=outcome.stderr.tail(_TAIL).decode(errors="replace"),
        message=f"start {spec.hostname}: {reason}",
    )
