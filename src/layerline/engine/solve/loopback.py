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
    from collections.abc import Iterable, Mapping, Sequence

    from layerline.engine.runtime.spec import ContainerSpec

_HOST = r"(?:localhost|127\.0\.0\.1)"
_URL = re.compile(rf"\b(https?|socks5h?)://(?:[^/@\s]*@)?{_HOST}(?::(\d{{1,5}}))?(?![\w.:-])")
_BARE = re.compile(rf"^{_HOST}:(\d{{1,5}})/?$")
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_INDEX_VARIABLES = re.compile(r"(PIP|UV)_\w*(INDEX|FIND_LINKS)\w*")


@dataclass(frozen=True, slots=True)
class LoopbackPorts:
    """The ports that the user named."""

    named: frozenset[int] = frozenset()

    @classmethod
    def of_user(cls, arguments: Sequence[str], environ: Mapping[str, str]) -> Self:
        """The ports in URLs of a command line, and in proxies and indexes of its environment."""
        variables = [
            value
            for name, value in environ.items()
            if name.lower() in PROXY_VARIABLES or _INDEX_VARIABLES.fullmatch(name)
        ]
        return cls(frozenset(_ports([*arguments, *variables])))

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
        for scheme, port in _URL.findall(text):
            yield int(port or _DEFAULT_PORTS[scheme])
        if found := _BARE.match(text):
            yield int(found[1])
