"""Connections to registries by the settings: mirrors, proxies, certificates, plain HTTP."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from layerline.engine.image.reference import DEFAULT_REGISTRY, Reference
from layerline.engine.image.registry.client import PROXY_EXTENSION, Endpoint, is_loopback
from layerline.engine.image.registry.credentials import Credentials
from layerline.engine.image.registry.repository import Repository
from layerline.errors import UsageError
from layerline.settings import BUNDLE_VARIABLE, unusable_bundle
from layerline.text_file import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from layerline.engine.image.registry.reach import Reach
    from layerline.settings import Settings

_INTERFACE_HOSTS = {DEFAULT_REGISTRY: f"registry-1.{DEFAULT_REGISTRY}"}
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_TRIES = 5


@dataclass(slots=True, kw_only=True, eq=False)
class Registries:
    """Connections are kept until `close`; threads may share it.

    A request is sent `most_tries` times at most.
    """

    settings: Settings
    credentials: Credentials
    reach: Reach | None = None
    timeout: httpx.Timeout = field(default_factory=lambda: _TIMEOUT)
    most_tries: int = _TRIES
    _client: httpx.Client | None = None
    _endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, settings: Settings, credentials: Credentials | None = None
    ) -> Iterator[Registries]:
        """Keep connections open for the length of the block."""
        registries = cls(settings=settings, credentials=credentials or Credentials.of(settings))
        try:
            yield registries
        finally:
            registries.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None
            self._endpoints.clear()

    def places(self, reference: Reference) -> Iterator[Repository]:
        """Yield where to pull from: the mirrors in order, then the registry itself."""
        for mirror in self.settings.mirrors.get(reference.registry, ()):
            url = httpx.URL(mirror if "://" in mirror else self._base(mirror))
            yield Repository(self._endpoint(str(url), _netloc(url)), reference)
        yield self.registry(reference)

    def registry(self, reference: Reference) -> Repository:
        """The repository at the registry itself, without mirrors."""
        base = self._base(_INTERFACE_HOSTS.get(reference.registry, reference.registry))
        return Repository(self._endpoint(base, reference.registry), reference)

    def _base(self, host: str) -> str:
        plain = host in self.settings.insecure or is_loopback(_host(host))
        return f"{'http' if plain else 'https'}://{host}"

    def _endpoint(self, base: str, registry: str) -> Endpoint:
        with self._lock:
            if base not in self._endpoints:
                if self._client is None:
                    self._client = http_client(self.settings, self.reach, timeout=self.timeout)
                self._endpoints[base] = Endpoint(
                    client=self._client,
                    base=httpx.URL(base),
                    login=self.credentials.for_registry(registry),
                    most_tries=self.most_tries,
                )
            return self._endpoints[base]


def http_client(
    settings: Settings,
    reach: Reach | None = None,
    *,
    timeout: httpx.Timeout = _TIMEOUT,
    variable: str = BUNDLE_VARIABLE,
) -> httpx.Client:
    """A client that goes through the proxies and trusts the certificates of the settings.

    It connects to what is in `reach`, by default to everything. `variable` named the certificates.
    """
    trust = _trusting(settings.ca_bundle, variable)
    return httpx.Client(
        verify=trust,
        timeout=timeout,
        trust_env=False,
        mounts=_proxies(settings.proxies, trust),
        headers={"User-Agent": "layerline"},
        event_hooks={"request": [reach.guard] if reach else []},
    )


def _trusting(bundle: Path | None, variable: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=bundle)
    except ssl.SSLError as exc:
        why = "it has none" if exc.reason == "NO_CERTIFICATE_OR_CRL_FOUND" else "they are not PEM"
        raise unusable_bundle(why, bundle, variable) from exc
    except OSError as exc:
        raise unusable_bundle(reason_of(exc), bundle, variable) from exc


class _Proxy(httpx.HTTPTransport):
    """Requests through a proxy, which are marked with the variable that names it."""

    def __init__(self, variable: str, address: str, trust: ssl.SSLContext) -> None:
        super().__init__(proxy=address, verify=trust)
        self.variable = variable

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Mark a request, for the error that it may end in."""
        request.extensions = {**request.extensions, PROXY_EXTENSION: self.variable.upper()}
        return super().handle_request(request)


def _proxies(
    variables: Mapping[str, str], trust: ssl.SSLContext
) -> dict[str, httpx.HTTPTransport | None]:
    for name, value in variables.items():
        _check_proxy(name, value)
    named = {name.lower(): value for name, value in variables.items()}
    mounts: dict[str, httpx.HTTPTransport | None] = {}
    for scheme in ("http", "https"):
        variable = next(filter(named.get, (f"{scheme}_proxy", "all_proxy")), "")
        if proxy := named.get(variable):
            address = proxy if "://" in proxy else f"http://{proxy}"
            mounts[f"{scheme}://"] = _Proxy(variable, address, trust)
    if mounts:
        for host in ("localhost", "127.0.0.1", "[::1]", *_without_proxy(named.get("no_proxy", ""))):
            mounts[f"all://{host}"] = None
    return mounts


def _check_proxy(variable: str, text: str) -> None:
    """Raise UsageError for what is not a proxy's address; it is not shown: it may have a login."""
    if variable.lower() == "no_proxy":
        return
    try:
        scheme = httpx.URL(text if "://" in text else f"http://{text}").scheme
    except httpx.InvalidURL:
        scheme = ""
    if scheme not in ("http", "https"):
        message = f"invalid proxy in {variable}: use http://HOST:PORT"
        raise UsageError(message)


def _without_proxy(text: str) -> Iterator[str]:
    for host in filter(None, (part.strip() for part in text.split(","))):
        if "/" in host:
            continue
        yield host
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            continue
        yield "*" + (host if host.startswith(".") else f".{host}")


def _host(name: str) -> str:
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def _netloc(url: httpx.URL) -> str:
    return url.netloc.decode()
