"""What the engine fetches for code in containers: never from this machine, unless it was named."""

from __future__ import annotations

import http.server
import ipaddress
import shlex
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.api.execute import answer
from layerline.engine.api.resolvers.git import pinned_settings
from layerline.engine.image.registry.reach import Reach
from layerline.errors import HostError, QueryError
from tests.unit.conftest import RootedProcess, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.conftest import OpenSession


@contextmanager
def serve(requests: list[str]) -> Iterator[int]:
    """A web server on the loopback that remembers what was asked of it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"of the host")

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    "query",
    [
        'http(url: "http://127.0.0.1:{port}/x") {{ contents }}',
        'http(url: "http://localhost:{port}/x") {{ contents }}',
        'git(url: "http://127.0.0.1:{port}/x.git") {{ head {{ commit }} }}',
        'container {{ from(address: "127.0.0.1:{port}/x") {{ id }} }}',
        'container {{ withNewFile(path: "/a", contents: "b") '
        '{{ publish(address: "127.0.0.1:{port}/x") }} }}',
    ],
)
async def test_the_loopback_is_not_asked_for_a_guest(
    open_a_session: OpenSession, tmp_path: Path, query: str
) -> None:
    requests: list[str] = []
    async with open_a_session() as session:
        guest = session.admit(namespace="guest", process=RootedProcess.at(tmp_path))
        with serve(requests) as port:
            got = await answer(f"{{ {query.format(port=port)} }}", session.call(guest))
    assert "is of this machine" in got.body["errors"][0]["message"]
    assert requests == []


async def test_it_is_asked_for_the_user_and_where_the_user_named_it(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    requests: list[str] = []
    async with open_a_session() as session:
        with serve(requests) as port:
            session.reach = Reach(frozenset({port}))
            guest = session.admit(namespace="guest", process=RootedProcess.at(tmp_path))
            query = f'{{ http(url: "http://127.0.0.1:{port}/one") {{ contents }} }}'
            got = await answer(query, session.call(guest))
            assert got.body["data"]["http"]["contents"] == "of the host"
            await ask(session, f'{{ http(url: "http://127.0.0.1:{port}/two") {{ contents }} }}')
    assert requests == ["/one", "/two"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254"],
)
def test_which_addresses_are_refused(address: str) -> None:
    with pytest.raises(HostError, match="is of this machine"):
        Reach().require(address, 80)


def test_an_address_of_the_outside_is_not_refused_but_the_machines_own_is() -> None:
    outside = str(ipaddress.ip_address("192.0.2.1"))
    Reach().require(outside, 80)
    with pytest.raises(HostError):
        Reach().require(outside, 80, own=outside)


def test_an_address_of_the_machine_that_the_user_named_is_reached_at_that_port() -> None:
    reach = Reach(endpoints=frozenset({("192.0.2.1", 5000), ("169.254.169.254", 80)}))
    reach.require("192.0.2.1", 5000, own="192.0.2.1")
    reach.require("::ffff:192.0.2.1", 5000, own="::ffff:192.0.2.1")
    for address, port in (("192.0.2.1", 5001), ("127.0.0.1", 5000), ("169.254.169.254", 80)):
        with pytest.raises(HostError, match="is of this machine"):
            reach.require(address, port, own=address)


def test_metadata_services_are_not_reached_even_where_their_port_was_named() -> None:
    with pytest.raises(HostError):
        Reach(frozenset({80})).require("169.254.169.254", 80)


def test_a_name_is_checked_by_its_addresses() -> None:
    with pytest.raises(HostError):
        Reach().resolve("localhost", 80)
    with pytest.raises(socket.gaierror):
        Reach().resolve("no-such-host.invalid", 80)


@pytest.mark.parametrize("host", ["%31%32%37.0.0.1", "", "a b", "\u0661\u0662\u0667.0.0.1"])
def test_what_is_no_host_name_is_not_looked_up(host: str) -> None:
    with pytest.raises(HostError, match="is not the name of a host"):
        Reach().resolve(host, 80)


def test_the_machines_other_addresses_are_refused_by_name_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.254", 9))
        except OSError:
            pytest.skip("this machine has no network")
        own = str(probe.getsockname()[0])
    with pytest.raises(HostError, match="is of this machine"):
        Reach().resolve(own, 80)


async def test_a_service_leads_a_guest_nowhere_else(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    """A redirect of a tunnelled service is followed within reach only."""
    assert Reach(frozenset({1})).with_port(2) == Reach(frozenset({1, 2}))
    async with open_a_session() as session:
        guest = session.admit(namespace="guest", process=RootedProcess.at(tmp_path))
        assert session.call(guest).reach is session.reach
        assert session.call().reach is None


@pytest.mark.parametrize("port", [22, 2222])
def test_ssh_connects_to_the_address_that_was_checked(tmp_path: Path, port: int) -> None:
    # A name may mean the loopback once it was checked: ssh does not look it up again.
    (tmp_path / "config").write_text("Host *\nProxyCommand nc 127.0.0.1 22\nIdentityFile /key\n")
    reach = Reach(frozenset({port}))

    def settings(**more: bool) -> dict[str, str]:
        pinned = pinned_settings(reach, f"ssh://git@localhost:{port}/a.git", **more)
        argv = [*shlex.split(pinned["core.sshCommand"]), f"-p{port}", "-G", "localhost"]
        if more.get("keys"):
            argv[1:1] = ["-F", str(tmp_path / "config")]
        lines = command.run(argv).stdout.decode().splitlines()
        return {name: value for name, _, value in (line.partition(" ") for line in lines)}

    for found in (settings(), settings(keys=True)):
        assert found["hostname"] in ("127.0.0.1", "::1")
        # sshd(8): keys of another port are those of "[host]:port".
        assert found["hostkeyalias"] == ("localhost" if port == 22 else "[localhost]:2222")
        assert found.get("proxycommand", "none") == "none"
    assert settings(keys=True)["identityfile"] == "/key"
    assert (settings()["identityfile"], settings()["identityagent"]) == ("none", "none")


def test_a_name_of_ssh_that_is_not_found_is_not_left_to_a_proxy() -> None:
    with pytest.raises(QueryError, match="failed to list the refs"):
        pinned_settings(Reach(), "git@no-such-host.invalid:a.git", proxied=True)
