"""Services of real containers on the session's network."""

from __future__ import annotations

import socket
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command, kernel
from layerline.engine.runtime.health import Healthcheck
from layerline.engine.runtime.network import in_namespace
from layerline.engine.runtime.service import (
    HostService,
    Port,
    Service,
    Services,
    ServiceSpec,
)
from layerline.engine.runtime.spec import Volume
from layerline.engine.runtime.traffic import watching
from layerline.errors import Cancelled, ExecError
from tests.unit.runtime.conftest import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.runtime.conftest import Box, Ran

HTTPD = "mkdir -p /srv; {before} exec httpd -f -p {port} -h /srv"


@pytest.fixture
def services(box: Box) -> Iterator[Services]:
    """The services of a session; the host's network must look the same afterwards."""
    for program in ("pasta", "ip", "nft"):
        if command.find(program) is None:
            pytest.skip(f"{program} is not installed")
    before = links()
    with Services(box.runtime) as services:
        yield services
    assert links() == before
    # Another daemon of this machine may have mounted namespaces of its own.
    assert [line for line in mounts() if "nsfs" in line and str(box.place) in line] == []


def links() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def web(box: Box, key: str = "web", before: str = "", **words: Any) -> ServiceSpec:  # noqa: ANN401
    """A web server that shows /srv."""
    script = HTTPD.format(before=before, port=8000)
    defaults: dict[str, Any] = {
        "key": key,
        "hostname": key,
        "container": lambda: nullcontext(box.spec("sh", "-c", script)),
        "ports": (Port(number=8000),),
    }
    return ServiceSpec(**{**defaults, **words})


def ask(box: Box, services: Services, script: str, *bindings: tuple[str, Service]) -> Ran:
    """Run a shell script where the services can be reached."""
    with services.join(box.spec("sh", "-c", script), bindings) as spec:
        return box.run(*spec.argv, network=spec.network, hosts=spec.hosts)


def test_a_service_is_reached_by_alias_and_hostname(box: Box, services: Services) -> None:
    service = services.start(web(box, before="echo hello > /srv/x;"))
    ran = ask(box, services, "wget -qO- http://alias:8000/x http://web:8000/x", ("alias", service))
    assert ran.stdout == "hello\nhello\n"


def test_what_a_container_receives_is_known_while_it_runs(box: Box, services: Services) -> None:
    script = "head -c 3000000 /dev/zero >/srv/big;"
    service = services.start(web(box, before=script))
    seen: list[int] = []
    fetch = "wget -qO- http://alias:8000/big | wc -c; sleep 2"
    with (
        services.join(box.spec("sh", "-c", fetch), [("alias", service)]) as spec,
        watching(spec.network.namespace if spec.network else None, seen.append),
    ):
        ran = box.run(*spec.argv, network=spec.network, hosts=spec.hosts)
    assert ran.stdout.strip() == "3000000"
    # The frames' own headers (66 bytes of at most 1500) and requests come on top.
    assert 3_000_000 < seen[-1] < 3_400_000


def test_a_container_without_services_has_a_network_of_its_own(
    box: Box, services: Services
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ran = ask(box, services, f"nc -w 1 127.0.0.1 {port} </dev/null || echo refused; ip -o link")
    assert ran.stdout.startswith("refused\n")
    names = [line.split(": ")[1].partition("@")[0] for line in ran.stdout.splitlines()[1:]]
    assert names == ["lo", "eth0"]


def test_steps_do_not_reach_each_other(services: Services) -> None:
    with (
        services.network() as one,
        services.network() as two,
        in_namespace(one.namespace, lambda: socket.create_server(("0.0.0.0", 80))),
    ):
        address = in_namespace(one.namespace, own_address)

        def dial() -> None:
            socket.create_connection((address, 80), timeout=1).close()

        in_namespace(one.namespace, dial)
        with pytest.raises(OSError, match=r"No route to host|timed out"):
            in_namespace(two.namespace, dial)


def test_a_network_is_used_again_unless_a_socket_is_left_in_it(services: Services) -> None:
    with services.network() as first:
        pass
    time.sleep(0.2)  # the kernel frees the sockets of `ip` a little later
    with services.network() as second:
        left = in_namespace(second.namespace, lambda: socket.create_server(("0.0.0.0", 80)))
    with left, services.network() as third:
        pass
    with services.network(fresh=True) as fresh:
        pass
    assert first.namespace == second.namespace
    assert len({second.namespace, third.namespace, fresh.namespace}) == 3


# An answer to nobody's question (RFC 826): the sender says that the service's address is its own.
SPOOF = """
import socket, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
own = link.getsockname()[4]
claimed = socket.inet_aton(ADDRESS)
head = b"\\xff" * 6 + own + b"\\x08\\x06"
body = b"\\0\\1\\x08\\0\\6\\4\\0\\2" + own + claimed + b"\\xff" * 6 + claimed
for _ in range(20):
    link.send(head + body)
    time.sleep(0.1)  # an entry is locked for a second after it changed
"""


def test_no_step_takes_the_address_of_a_service(box: Box, services: Services) -> None:
    """A raw socket is a default capability; the host's way to a service stays the service's."""
    service = services.start(web(box, before="echo genuine > /srv/x;"))
    with services.network() as network:
        script = SPOOF.replace("ADDRESS", repr(service.address)).replace("\\\\", "\\")
        command.run(["nsenter", f"--net={network.namespace}", sys.executable, "-c", script])
        with services.tunnel(service, port=8000) as port:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=5).read()
    assert answer == b"genuine\n"


def test_a_machine_without_a_network_runs_steps_and_services(box: Box) -> None:
    """As `docker run --network=none` does: an air-gapped machine, or a laptop on a train."""

    def work() -> str:
        with Services(box.runtime) as services:
            service = services.start(web(box, before="echo up > /srv/x;"))
            return ask(box, services, "wget -qO- http://alias:8000/x", ("alias", service)).stdout

    found: list[str] = []
    failures: list[BaseException] = []

    def offline() -> None:
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            found.append(work())
        except BaseException as exc:  # noqa: BLE001  the test raises it
            failures.append(exc)

    thread = threading.Thread(target=offline)
    thread.start()
    thread.join()
    assert (found, failures) == (["up\n"], [])


def own_address() -> str:
    """The address that packets to elsewhere would come from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def test_a_named_port_of_the_hosts_loopback_is_forwarded(box: Box, services: Services) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=answer_once, args=(server,), daemon=True).start()
        spec = box.spec("nc", "127.0.0.1", str(port))
        with services.join(replace(spec, loopback=(port,))) as joined:
            ran = box.run(*joined.argv, network=joined.network)
    assert ran.stdout == "from the host\n"


def test_a_port_of_its_loopback_is_served_by_this_process(box: Box, services: Services) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    served: list[tuple[str, int]] = []

    @contextmanager
    def serve(listener: socket.socket) -> Iterator[None]:
        served.append(listener.getsockname())
        with listener:
            threading.Thread(target=answer_once, args=(listener,), daemon=True).start()
            yield

    spec = box.spec("nc", "127.0.0.1", str(port))
    with services.join(replace(spec, served=((port, serve),))) as joined:
        ran = box.run(*joined.argv, network=joined.network)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
    assert (ran.stdout, served) == ("from the host\n", [("127.0.0.1", port)])


def answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"from the host\n")


def test_one_instance_serves_all_who_ask_at_once(box: Box, services: Services) -> None:
    spec = web(box, before="head -c 8 /dev/urandom | od -An -tx1 > /srv/id; sleep 0.2;")
    found: list[Service] = []
    threads = [
        threading.Thread(target=lambda: found.append(services.start(spec))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(service) for service in found}) == 1


def test_a_service_is_handed_out_only_when_it_answers(box: Box, services: Services) -> None:
    service = services.start(web(box, before="sleep 0.7; echo up > /srv/x;"))
    assert ask(box, services, "wget -qO- http://web:8000/x", ("w", service)).stdout == "up\n"


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("echo out; echo err >&2; exit 3", 3, "start web: exit code: 3"),
        ("true", 0, "start web: service exited before healthcheck"),
    ],
)
def test_a_service_that_ends_early_is_an_error(
    box: Box, services: Services, script: str, code: int, message: str
) -> None:
    spec = web(box, container=lambda: nullcontext(box.spec("sh", "-c", script)))
    with pytest.raises(ExecError, match=message) as caught:
        services.start(spec)
    assert caught.value.code == code
    assert caught.value.stdout == ("out\n" if code else "")


def test_a_service_without_ports_is_ready_at_once(box: Box, services: Services) -> None:
    spec = web(box, container=lambda: nullcontext(box.spec("sleep", "60")), ports=())
    unchecked = web(
        box,
        key="other",
        container=lambda: nullcontext(box.spec("sleep", "60")),
        ports=(Port(number=9, check=False),),
    )
    began = time.monotonic()
    services.start(spec)
    services.start(unchecked)
    assert time.monotonic() - began < 2


def test_a_health_check_decides(box: Box, services: Services) -> None:
    check = Healthcheck(argv=("test", "-e", "/srv/ready"), interval=0.05, retries=1000)
    began = time.monotonic()
    services.start(web(box, before="(sleep 0.6; touch /srv/ready) &", healthcheck=check))
    assert time.monotonic() - began > 0.6
    bad = Healthcheck(argv=("sh", "-c", "echo no; exit 4"), interval=0.01, retries=1)
    with pytest.raises(ExecError, match="health check failed: exit code: 4") as caught:
        services.start(web(box, key="bad", healthcheck=bad))
    assert (caught.value.code, caught.value.stdout) == (4, "no\n")


def checks(box: Box, marker: str) -> int:
    """How often a check that notes itself in a volume's file ran."""
    return len((box.place / marker).read_text().splitlines())


@pytest.mark.parametrize("retries", [1, 3])
def test_a_service_is_unhealthy_after_so_many_failures_in_a_row(
    box: Box, services: Services, retries: int
) -> None:
    """Docker: "It takes retries consecutive failures …" (Dockerfile reference, HEALTHCHECK)."""
    (box.place / "volume").mkdir()
    noting = Healthcheck(
        argv=("sh", "-c", "echo x >> /v/runs; exit 1"), interval=0.01, retries=retries
    )
    spec = box.spec("sleep", "60", mounts=(Volume(target="/v", source=box.place / "volume"),))
    with pytest.raises(ExecError, match="health check failed"):
        services.start(web(box, container=lambda: nullcontext(spec), healthcheck=noting))
    assert checks(box, "volume/runs") == retries


def test_a_check_that_hangs_fails_in_time_and_is_ended(box: Box, services: Services) -> None:
    """Docker: a run that takes longer than the timeout has failed. One runs at a time."""
    hanging = Healthcheck(
        argv=("sh", "-c", "sleep 7654 & sleep 7654"), interval=0.01, timeout=0.5, retries=2
    )
    began = time.monotonic()
    with pytest.raises(ExecError, match=r"no answer within 0\.5 s"):
        services.start(web(box, healthcheck=hanging))
    assert time.monotonic() - began < 20
    assert "7654" not in command.run(["ps", "-eo", "args"]).stdout.decode()


def test_a_start_with_a_hanging_check_can_be_cancelled(box: Box, services: Services) -> None:
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        services.start(web(box, healthcheck=Healthcheck(argv=("sleep", "60"))), cancel)
    assert time.monotonic() - began < 20


def test_the_output_of_a_check_is_masked(box: Box, services: Services) -> None:
    telling = Healthcheck(argv=("sh", "-c", "echo key=hush-hush; exit 1"), retries=1)
    spec = box.spec("sleep", "60", secrets=(b"hush-hush",))
    with pytest.raises(ExecError) as caught:
        services.start(web(box, container=lambda: nullcontext(spec), healthcheck=telling))
    assert caught.value.stdout == "key=***\n"


def test_a_port_that_nobody_listens_on_is_an_error(
    box: Box, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerline.engine.runtime.service._PORT_SECONDS", 1.0)
    spec = box.spec("sh", "-c", "echo listening elsewhere; sleep 60")
    with pytest.raises(ExecError, match="nothing listens on port 8000") as caught:
        services.start(web(box, container=lambda: nullcontext(spec)))
    assert caught.value.stdout == "listening elsewhere\n"


def test_stopping_asks_first(box: Box, services: Services) -> None:
    done: list[str] = []

    @contextmanager
    def container() -> Iterator[Any]:
        spec = box.spec(
            "sh", "-c", "trap 'echo bye > /bye; exit 0' TERM; touch /up; sleep 60 & wait"
        )
        yield spec
        assert spec.rootfs.upper is not None
        done.append((spec.rootfs.upper / "bye").read_text())

    spec = web(
        box, container=container, healthcheck=Healthcheck(argv=("test", "-e", "/up"), retries=99)
    )
    services.start(spec)
    services.stop(spec.key)
    assert done == ["bye\n"]


def test_killing_does_not_ask(box: Box, services: Services) -> None:
    script = "trap '' TERM; touch /up; while :; do sleep 1; done"
    spec = web(
        box,
        container=lambda: nullcontext(box.spec("sh", "-c", script)),
        healthcheck=Healthcheck(argv=("test", "-e", "/up"), retries=99, interval=0.05),
    )
    services.start(spec)
    began = time.monotonic()
    services.stop(spec.key, kill=True)
    assert time.monotonic() - began < 2


def test_a_stopped_service_can_start_again(box: Box, services: Services) -> None:
    spec = web(box, before="echo $$ >> /srv/x;")
    first = services.start(spec)
    services.stop(spec.key, kill=True)
    second = services.start(spec)
    assert first is not second
    assert ask(box, services, "wget -qO- http://web:8000/x | wc -l").stdout == "1\n"


def test_a_tunnel_leads_from_the_host_to_the_service(box: Box, services: Services) -> None:
    service = services.start(web(box, before="head -c 300000 /dev/zero > /srv/x;"))
    with services.tunnel(service, port=8000) as port:
        size = 0
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /x HTTP/1.0\r\n\r\n")
            while data := connection.recv(65536):
                size += len(data)
        assert size > 300000
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_port_of_the_host_becomes_a_service(box: Box, services: Services) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        backend = listener.getsockname()[1]

        def answer() -> None:
            taken, _ = listener.accept()
            with taken:
                taken.recv(1000)
                taken.sendall(b"HTTP/1.0 200 OK\r\n\r\nfrom the host")

        thread = threading.Thread(target=answer)
        thread.start()
        service = services.start(HostService(key="h", hostname="h", ports={8080: backend}))
        ran = ask(box, services, "wget -qO- http://web:8080/", ("web", service))
        thread.join()
    assert ran.stdout == "from the host"


def test_the_hosts_loopback_is_out_of_reach(box: Box, services: Services) -> None:
    services.start(web(box, container=lambda: nullcontext(box.spec("sleep", "60")), ports=()))
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        with services.join(box.spec("true"), ()) as spec:
            assert spec.network is not None
            namespace = spec.network.namespace

            def reach() -> None:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()

            with pytest.raises(ConnectionRefusedError):
                in_namespace(namespace, reach)


def test_an_exec_ends_when_its_service_does(box: Box, services: Services) -> None:
    service = services.start(
        web(box, ports=(), container=lambda: nullcontext(box.spec("sleep", "0.5")))
    )
    began = time.monotonic()
    with pytest.raises(ExecError, match="start web"):
        box.run("sleep", "60", watch=lambda: service.failure)
    assert time.monotonic() - began < 3


def test_a_start_that_never_becomes_healthy_ends_when_it_is_cancelled(
    box: Box, services: Services
) -> None:
    spec = web(box, container=lambda: nullcontext(box.spec("sleep", "60")))
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        services.start(spec, cancel)
    assert time.monotonic() - began < 5
