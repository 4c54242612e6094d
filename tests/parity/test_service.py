"""Services: how a failed start is reported, tunnels that open and close, hosts' ports."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.parity.conftest import Case, ParitySession, box, sh

pytestmark = pytest.mark.privileged

TUNNELS = "core/service.go, startTunnel, and core/schema/host.go"
SERVER = (
    '{ container { from(address: "python:3.11-slim") '
    '{ withNewFile(path: "/srv/index.html", contents: "hello") { withWorkdir(path: "/srv") '
    "{ withExposedPort(port: 8000) { asService("
    'args: ["python3", "-m", "http.server", "8000"]) { id } } } } } } }'
)
FAILING = box('withExposedPort(port: 81) { asService(args: ["sh", "-c", "exit 7"]) { id } }')
QUIET = box('asService(args: ["sleep", "100"]) { id }')

CASES = [
    Case(
        pins="a bound service that fails is reported with its alias",
        why="the protocol's section 5.8: start HOST (aliased as A): exit code: N",
        given=FAILING,
        query=box(f'withServiceBinding(alias: "db", service: "$given") {{ {sh("true")} }}'),
        error=r"^start \w+ \(aliased as db\): exit code: 7$",
    ),
    Case(
        pins="a service that ends well before it is healthy",
        why="the protocol's section 5.8",
        query=box('withExposedPort(port: 81) { asService(args: ["true"]) { start } }'),
        error="service exited before healthcheck",
    ),
    Case(
        pins="a tunnel needs ports",
        why=TUNNELS,
        given=QUIET,
        query='{ host { tunnel(service: "$given") { id } } }',
        error="no ports to forward",
    ),
    Case(
        pins="a service of the host needs ports",
        why="core/schema/host.go",
        query="{ host { service(ports: []) { id } } }",
        error="no ports specified",
    ),
    Case(
        pins="a port of the host is at the same number unless another is named",
        why="core/service.go, startReverseTunnel",
        query="{ host { service(ports: [{backend: 5000}]) { ports { port } } } }",
        answer=[{"port": 5000}],
    ),
    Case(
        pins="explicit default args keep the entrypoint out of a service",
        why="core/container.go, AsService, and its DefaultArgs flag",
        query=box(
            'withEntrypoint(args: ["sh"]) { withDefaultArgs(args: ["sh", "-c", "exit 5"]) '
            "{ withExposedPort(port: 81) { asService { start } } } }"
        ),
        error="exit code: 5",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(session: ParitySession, case: Case) -> None:
    session.check(case)


def test_a_service_reaches_those_bound_to_its_container(session: ParitySession) -> None:
    """The protocol's section 5.8: a binding is of the container, which the service runs."""
    inner = session.identity(SERVER)
    ask = "import urllib.request as u; print(u.urlopen('http://inner:8000').read().decode())"
    dialled = f'asService(args: ["sh", "-c", "python3 -c \\"{ask}\\"; exit 3"]) {{ start }}'
    error = session.error(
        '{ container { from(address: "python:3.11-slim") { '
        f'withServiceBinding(alias: "inner", service: "{inner}") '
        f"{{ withExposedPort(port: 81) {{ {dialled} }} }} }} }} }}"
    )
    assert error["extensions"]["stdout"] == "hello\n", error["extensions"]["stderr"]


def test_a_tunnel_takes_a_free_port_and_closes(session: ParitySession) -> None:
    service = session.identity(SERVER)
    query = f'{{ host {{ tunnel(service: "{service}", ports: [{{backend: 8000}}]) {{ id }} }} }}'
    tunnel = session.identity(query)

    def of_tunnel(field: str) -> object:
        return session.answer(f'{{ node(id: "{tunnel}") {{ ... on Service {{ {field} }} }} }}')

    of_tunnel("start")
    endpoint = str(of_tunnel('endpoint(scheme: "http")'))
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)", endpoint)
    assert found is not None
    assert found[1] != "8000"
    assert of_tunnel("ports { port }") == [{"port": int(found[1])}]
    assert httpx.get(endpoint).text == "hello"
    of_tunnel("stop")
    with pytest.raises(httpx.ConnectError):
        httpx.get(endpoint)
    bound = f'withServiceBinding(alias: "www", service: "{service}")'
    fetch = "import urllib.request as u; print(u.urlopen('http://www:8000').read().decode())"
    again = (
        f'{{ container {{ from(address: "python:3.11-slim") {{ {bound} '
        f'{{ withExec(args: ["python3", "-c", "{fetch}"]) {{ stdout }} }} }} }} }}'
    )
    assert session.answer(again) == "hello\n"


def test_a_binding_leaves_the_reference_of_the_image(session: ParitySession) -> None:
    """core/container.go, WithServiceBinding, does not clear it as other changes do."""
    service = session.identity(QUIET)
    bound = box(f'withServiceBinding(alias: "db", service: "{service}") {{ imageRef }}')
    assert session.identity(bound).startswith("docker.io/library/debian:bookworm-slim@sha256:")
