"""Ports of the host's loopback that containers may reach: an index or a proxy that the user named.

What counts is the user's own command line and environment, never a repository's files: a hostile
one would open the host's services to its steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from layerline.engine.runtime.spec import SecretFile
from layerline.settings import PROXY_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.settings import Settings

_HOST = r"(?:localhost|127\.0\.0\.1)"
_URL = re.compile(rf"\b(https?|socks5h?)://(?:[^/@\s]*@)?{_HOST}(?![\w.:-])")
_PORT = re.compile(rf"(?<![\w.-]){_HOST}:(\d{{1,5}})(?![\w.-])")
# An address of the machine's own that is not the loopback, as far as the text can tell.
_ADDRESS = re.compile(r"(?<![\w.-])(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})(?![\w.-])")
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_INDEX_VARIABLES = re.compile(r"(PIP|UV)_\w*(INDEX|FIND_LINKS)\w*")


@dataclass(frozen=True, slots=True)
class LoopbackPorts:
    """The ports that the user named; `endpoints` are those of other addresses, with the address."""

    named: frozenset[int] = frozenset()
    endpoints: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of_user(cls, arguments: Sequence[str], settings: Settings) -> Self:
        """The ports in a command line, in its proxies and indexes, and in registries' mirrors."""
        variables = [
            value
            for name, value in settings.environ.items()
            if name.lower() in PROXY_VARIABLES or _INDEX_VARIABLES.fullmatch(name)
        ]
        mirrors = [mirror for named in settings.mirrors.values() for mirror in named]
        texts = [*arguments, *variables, *mirrors]
        found = (each for text in texts for each in _ADDRESS.findall(text))
        endpoints = frozenset((address, int(port)) for address, port in found)
        return cls(frozenset(_ports(texts)), endpoints)

    def used_by(self, container: ContainerSpec) -> tuple[int, ...]:
        """Those that a container's arguments, variables and secret files name."""
        if not self.named:
            return ()
        files = (mount.data for mount in container.mounts if isinstance(mount, SecretFile))
        texts = (
            *container.argv,
            *(value for _, value in container.env),
            *(data.decode(errors="replace") for data in files),
        )
        return tuple(sorted(self.named.intersection(_ports(texts))))


def _ports(texts: Iterable[str]) -> Iterable[int]:
    for text in texts:
        yield from (_DEFAULT_PORTS[scheme] for scheme in _URL.findall(text))
        yield from (int(port) for port in _PORT.findall(text))
