"""The network of a session's containers: a bridge in a namespace of its own, and a way out.

Invariants: nothing of it exists in the host's network namespace, and the host's loopback is not
reachable from it. The way out is pasta, an ordinary process; namespaces are held by mounts of this
process's mount namespace. Both end with it. Containers that run a step reach services and the
outside, not each other (isolated ports of the bridge).
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import signal
import socket
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from layerline import command, kernel, log
from layerline.engine.runtime.spec import Network, Users
from layerline.engine.runtime.user_ids import same_ids, user_namespace
from layerline.engine.store.rmtree import discard_tree
from layerline.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from layerline.engine.runtime.user_ids import UserIds

T = TypeVar("T")

_SUBNET = ipaddress.IPv4Network("10.87.0.0/16")
_GATEWAY = str(_SUBNET[1])
_RESOLVER = str(_SUBNET[2])  # stands for a resolver that listens on the host's loopback only
_BRIDGE = "layerline0"
_MTU = 65520  # pasta's: it passes on streams, not packets, and is slow with small ones
# What a cloud answers at link-local addresses (169.254.169.254) are the host's credentials; name
# servers there are the only ones that some of them have.
# pasta (Debian 12's) sends segments without any flag: none can be translated back to a container,
# and the router's answer, a reset, would end their connection.
_RULES = f"""
table ip layerline {{
  chain out {{
    type nat hook postrouting priority srcnat;
    ip saddr {_SUBNET} ip daddr != {_SUBNET} masquerade;
  }}
  chain through {{
    type filter hook forward priority filter;
    ip daddr 169.254.0.0/16 meta l4proto {{ tcp, udp }} th dport 53 accept;
    ip daddr 169.254.0.0/16 reject;
  }}
  chain in {{
    type filter hook input priority filter;
    ct state invalid drop;
  }}
}}
"""
# A raw socket is BuildKit's default: no frame leaves a port but under its own addresses.
_PORT_RULES = """
table bridge layerline {
  set ports { type ifname . ether_addr . ipv4_addr; }
  chain in {
    type filter hook prerouting priority 0;
    ether type arp iifname . arp saddr ether . arp saddr ip != @ports drop
    ether type ip iifname . ether saddr . ip saddr != @ports drop
    ether type != { arp, ip } drop
  }
}
"""
_WAIT = 10.0  # seconds for pasta to be up
_RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A namespace on the session's network, and its address."""

    network: Network
    address: str


class SessionNetwork:
    """The bridge, and the namespaces that hang on it.

    A new namespace costs as much as the rest of a small step, so those of steps are used again.
    """

    def __init__(
        self, state: Path, router: Path, resolv_conf: bytes, stack: ExitStack, *, filters: bool
    ) -> None:
        self._filters = filters
        self._state = state
        self._router = router
        self._resolv_conf = resolv_conf
        self._stack = stack
        self._hosts = itertools.count(10)
        self._idle: dict[UserIds | None, list[Network]] = {}
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def create(cls, state: Path) -> Iterator[Self]:
        """Make the network; `state` is an empty directory of this session in memory."""
        pasta = command.require("pasta", package="passt")
        for program, package in (("ip", "iproute2"), ("nft", "nftables")):
            command.require(program, package=package)
        resolv_conf, forwards = _resolvers(_RESOLV_CONF.read_text())
        with ExitStack() as stack:
            online = _has_way_out(Path("/proc/thread-self"))
            made = _pasta(pasta, forwards) if online else _closed_namespace()
            holder = stack.enter_context(made)
            router = state / "router"
            stack.enter_context(_pin_namespace(Path(f"/proc/{holder}/ns/net"), router))
            in_namespace(router, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
            _ip(
                router,
                f"link add {_BRIDGE} mtu {_MTU} type bridge",
                f"addr add {_GATEWAY}/{_SUBNET.prefixlen} dev {_BRIDGE}",
                f"link set {_BRIDGE} up",
            )
            command.run(["nsenter", f"--net={router}", "nft", _RULES])
            yield cls(state, router, resolv_conf, stack, filters=_add_port_rules(router))

    @contextmanager
    def lend(self, ids: UserIds | None = None) -> Iterator[Network]:
        """A namespace for one step, isolated: it may have served others, who left no socket in it.

        Only for programs that may not configure it. `ids` as for `attach`.
        """
        with self._lock:
            idle = self._idle.setdefault(ids, [])
            network = next((n for n in idle if not _has_sockets(n.namespace)), None)
            if network is not None:
                idle.remove(network)
        if network is None:  # outside of the lock: steps that start together do not wait in turn
            network = self._stack.enter_context(self.attach(ids, isolated=True)).network
        try:
            yield network
        finally:
            with self._lock:
                idle.append(network)

    @contextmanager
    def attach(self, ids: UserIds | None = None, *, isolated: bool = False) -> Iterator[Attachment]:
        """A new namespace on the bridge; isolated ones do not reach each other.

        With `ids` it belongs to a new user namespace that has these.
        """
        number = next(self._hosts)
        address = str(_SUBNET[number])
        namespace = self._state / f"net{number}"
        users = None if ids is None else Users(namespace=self._state / f"user{number}", ids=ids)
        with (
            _create_namespace(namespace)
            if users is None
            else _create_users(users.ids, users.namespace, namespace)
        ):
            link, mac = f"v{number}", _mac(address)
            peer = f"peer name eth0 address {mac} mtu {_MTU} netns {namespace}"
            self._admit(link, mac, address)
            _ip(
                self._router,
                f"link add {link} mtu {_MTU} type veth {peer}",
                f"link set {link} master {_BRIDGE} up",
                *([f"link set {link} type bridge_slave isolated on"] if isolated else []),
            )
            _ip(
                namespace,
                "link set lo up",
                f"addr add {address}/{_SUBNET.prefixlen} dev eth0",
                "link set eth0 up",
                f"route add default via {_GATEWAY}",
            )
            network = Network(namespace=namespace, users=users, resolv_conf=self._resolv_conf)
            yield Attachment(network=network, address=address)

    def _admit(self, link: str, mac: str, address: str) -> None:
        if self._filters:
            element = f'add element bridge layerline ports {{ "{link}" . {mac} . {address} }}'
            command.run(["nsenter", f"--net={self._router}", "nft", element])

    def dial(self, address: str, port: int, *, timeout: float) -> socket.socket:
        """A connection to an address on the network."""
        connection = in_namespace(self._router, socket.socket)
        try:
            connection.settimeout(timeout)
            connection.connect((address, port))
            connection.settimeout(None)
        except OSError:
            connection.close()
            raise
        return connection


def _add_port_rules(router: Path) -> bool:
    """Whether the kernel filters bridges (nf_tables, CONFIG_NF_TABLES_BRIDGE)."""
    program = ["nsenter", f"--net={router}", "nft", "--file", "-"]
    done = command.run(program, stdin=_PORT_RULES.encode(), expect=None)
    if done.status != 0:
        log.debug("the bridge has no filter: %s", done.stderr.decode(errors="replace"))
    return done.status == 0


def _mac(address: str) -> str:
    """A locally administered address (IEEE 802) that an IPv4 address gives."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def listen_in(namespace: Path, port: int, *, address: str = "0.0.0.0") -> socket.socket:
    """A socket that listens on an address of a namespace, by default on all of them."""
    return in_namespace(namespace, lambda: socket.create_server((address, port)))


def _has_sockets(namespace: Path) -> bool:
    """Whether a socket is left: one that was handed to a program elsewhere, or is closing."""
    statistics = in_namespace(namespace, Path("/proc/thread-self/net/sockstat").read_text)
    return not statistics.startswith("sockets: used 0\n")


def in_namespace(namespace: Path, action: Callable[[], T]) -> T:
    """Do something in a network namespace: in a thread of its own, which ends with it.

    A socket that it opens stays in the namespace, and can be used from everywhere.
    """

    def enter() -> T:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.enter_namespace(descriptor)
        finally:
            os.close(descriptor)
        return action()

    return _in_thread(enter)


def _in_thread(action: Callable[[], T]) -> T:
    results: list[T] = []
    failures: list[OSError] = []

    def work() -> None:
        try:
            results.append(action())
        except OSError as exc:
            failures.append(exc)

    thread = threading.Thread(target=work, name="namespace")
    thread.start()
    thread.join()
    for failure in failures:
        raise failure
    return results[0]


@contextmanager
def _create_namespace(path: Path) -> Iterator[None]:
    """A new network namespace, held at `path`."""

    def make() -> None:
        kernel.unshare(kernel.CLONE_NEWNET)
        path.touch()
        kernel.mount("/proc/thread-self/ns/net", path, None, kernel.MS_BIND)

    _in_thread(make)
    try:
        yield
    finally:
        kernel.unmount(path)
        discard_tree(path)


@contextmanager
def _create_users(ids: UserIds, users: Path, namespace: Path) -> Iterator[None]:
    """A user namespace and a network namespace of it, held at the two paths."""
    with ExitStack() as stack:
        with user_namespace(ids, "--net") as holder:
            stack.enter_context(_pin_namespace(holder / "ns/user", users))
            stack.enter_context(_pin_namespace(holder / "ns/net", namespace))
        yield


@contextmanager
def _pin_namespace(namespace: Path, path: Path) -> Iterator[None]:
    path.touch()
    kernel.mount(str(namespace), path, None, kernel.MS_BIND)
    try:
        yield
    finally:
        kernel.unmount(path)
        discard_tree(path)


@contextmanager
def _pasta(program: Path, forwards: Sequence[str]) -> Iterator[int]:
    """A namespace whose traffic pasta carries out as its own; gives a process that is in it.

    That process reads from a pipe of this one, and ends with it, however it ends: so does pasta.

    pasta gives up root when it is started with it, so it gets a user namespace to be root in. No
    port is forwarded, in neither direction, and no address stands for the host's loopback.
    """
    closed = ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"]
    quiet = ["--config-net", "--foreground", "--quiet"]
    inside = ["unshare", "--user", "--map-root-user", str(program)]
    with tempfile.TemporaryFile() as messages:
        process = command.start(
            [*inside, *quiet, *closed, *forwards, "--", "cat"],
            stdin=command.PIPE,
            stdout=command.DEVNULL,
            stderr=messages,
            new_session=True,
        )
        try:
            child = _wait_for_child(process)
            if child is None:
                messages.seek(0)
                raise _pasta_failed(messages.read().decode(errors="replace"))
            yield child
        finally:
            for each in _children(process.pid):  # one that waits for pasta reads no pipe yet
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            process.kill()
            process.communicate()


def _pasta_failed(messages: str) -> HostError:
    lines = [line for line in messages.splitlines() if line.strip()]
    reason = lines[-1] if lines else f"it was not ready after {_WAIT:g} s"
    message = (
        f"cannot create the network of the containers: pasta did not start: {reason}: "
        "see 'layerline doctor', or start the container that this runs in with "
        "--device /dev/net/tun"
    )
    return HostError(message)


@contextmanager
def _closed_namespace() -> Iterator[int]:
    """A namespace for a machine without a network, where pasta does not start."""
    with user_namespace(same_ids(), "--net") as holder:
        yield int(holder.name)


def _wait_for_child(process: command.Process[bytes]) -> int | None:
    deadline = time.monotonic() + _WAIT
    while process.poll() is None and time.monotonic() < deadline:
        for child in _children(process.pid):
            if _is_connected(Path("/proc", str(child))):
                return child
        time.sleep(0.01)
    return None


def _children(process: int) -> list[int]:
    with suppress(OSError):
        return [
            int(x) for x in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    return []


def _is_connected(process: Path) -> bool:
    """Whether the process holds another network namespace than this one, with a way out."""
    with suppress(FileNotFoundError, ProcessLookupError):
        holds = (process / "comm").read_text() == "cat\n"
        own = Path("/proc/thread-self/ns/net").stat()
        return holds and (process / "ns/net").stat().st_ino != own.st_ino and _has_way_out(process)
    return False


def _has_way_out(process: Path) -> bool:
    """Whether a process has a default route, by IPv4 or IPv6. See proc_net(5)."""
    with suppress(FileNotFoundError):  # a kernel without IPv6
        for line in (process / "net/ipv6_route").read_text().splitlines():
            destination, length, *_, device = line.split()
            if (int(destination, 16), int(length, 16)) == (0, 0) and device != "lo":
                return True
    rows = [line.split() for line in (process / "net/route").read_text().splitlines()[1:]]
    return any(row[1] == row[7] == "00000000" for row in rows)


def _resolvers(text: str) -> tuple[bytes, list[str]]:
    """The resolv.conf for containers, and the options of pasta that it needs."""
    lines = text.splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    if not any(ipaddress.ip_address(server.partition("%")[0]).is_loopback for server in servers):
        return text.encode(), []
    kept = [line for line in lines if not line.startswith("nameserver ")]
    return "\n".join([*kept, f"nameserver {_RESOLVER}", ""]).encode(), ["--dns-forward", _RESOLVER]


def _ip(namespace: Path, *lines: str) -> None:
    batch = "".join(f"{line}\n" for line in lines).encode()
    command.run(["nsenter", f"--net={namespace}", "ip", "-batch", "-"], stdin=batch)
