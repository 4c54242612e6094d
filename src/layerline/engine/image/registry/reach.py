"""What the engine connects to when it fetches for code that is not the user's own.

Such code has no way to the host's loopback or to link-local addresses (a cloud's metadata service)
from its own network; the engine must not be one. What counts is the address that was connected to,
before anything is sent: a name may mean another address the next time it is looked up.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_CONNECTED = "connection.connect_tcp.complete"


@dataclass(frozen=True, slots=True)
class Reach:
    """The ports of this machine that the user named; everything else of it is refused.

    `endpoints` are ports that the user named with an IPv4 address: they hold for that address.
    """

    ports: frozenset[int] = frozenset()
    endpoints: frozenset[tuple[str, int]] = frozenset()

    def with_port(self, port: int | None) -> Reach:
        """The same, and one more port."""
        return replace(self, ports=self.ports | {port}) if port else self

    def guard(self, request: httpx.Request) -> None:
        """Check the connection of a request before anything is sent: an event hook of httpx."""
        request.extensions = {**request.extensions, "trace": self._trace}

    def resolve(self, host: str, port: int) -> str:
        """An address of a host that may be connected to. Raises HostError if it has none."""
        if not _HOST.fullmatch(host):
            message = f"{host!r} is not the name of a host"
            raise HostError(message)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as exc:  # an empty label, or one of more than 63 characters
            message = f"{host!r} is not the name of a host"
            raise HostError(message) from exc
        addresses = [str(address[0]) for *_, address in found]
        for address in addresses:
            self.require(address, port, own=_own_address(address))
        return addresses[0]

    def require(self, address: str, port: int, *, own: str = "") -> None:
        """Raise HostError for an address of this machine; `own` is this end of a connection."""
        parsed = ipaddress.ip_address(address.partition("%")[0])
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        parsed = mapped or parsed
        here = parsed.is_loopback or parsed.is_unspecified or address == own
        is_named = port in self.ports or (str(parsed), port) in self.endpoints
        if parsed.is_link_local or (here and not is_named):
            message = (
                f"{address}:{port} is of this machine, which modules and nested execs do not "
                "reach: name it on the command line, or use a service"
            )
            raise HostError(message)

    def _trace(self, event: str, info: Mapping[str, object]) -> None:
        if event == _CONNECTED:
            stream = info["return_value"]
            address, port = stream.get_extra_info("server_addr")[:2]  # type: ignore[attr-defined]
            own = stream.get_extra_info("client_addr")[0]  # type: ignore[attr-defined]
            try:
                self.require(address, port, own=own)
            except HostError:
                stream.close()  # type: ignore[attr-defined]
                raise


def _own_address(address: str) -> str:
    """The near end of a connection to an address, empty without a route; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
