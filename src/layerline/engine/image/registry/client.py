"""An HTTP client for one registry: retries, redirects, authentication, and error messages.

The login is sent to the registry it is for, and to a token service of the same owner; never with
a redirect, and never to another host that a response names.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

import httpx

from layerline.errors import (
    ImageError,
    ImageNotFound,
    RegistryDenied,
    RegistryTimeout,
    RegistryUnreachable,
)

if TYPE_CHECKING:
    from layerline.engine.image.registry.credentials import Login

Body = Callable[[], Iterable[bytes]]

_TRIES = 5
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_MOST_REDIRECTS = 5
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
_LARGEST_ANSWER = 8 << 20
_SECOND_LEVEL = frozenset({"co", "com", "org", "net", "ac", "gov", "edu"})
PROXY_EXTENSION = "layerline.proxy"  # of a request: the variable that names its proxy
_REFUSED, _NO_HOST = "connect: connection refused", "no such host"


@dataclass(frozen=True, slots=True)
class Request:
    """A request in a token `scope`. `body` is called once for each attempt and each redirect.

    A status outside `expect` is an error; `tries` counts attempts in total, of which the endpoint
    may allow fewer.
    """

    method: str
    url: httpx.URL
    _: KW_ONLY
    scope: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    expect: frozenset[int] = frozenset({200})
    tries: int = _TRIES


@dataclass(slots=True, kw_only=True, eq=False)
class Endpoint:
    """Requests to the registry at `base`. Threads may share it."""

    client: httpx.Client
    base: httpx.URL
    login: Login | None = None
    pause: float = _FIRST_PAUSE
    most_tries: int = _TRIES
    _headers: dict[str, str] = field(default_factory=dict)
    _basic: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> httpx.URL:
        """A URL below `/v2/` of the registry."""
        return httpx.URL(str(self.base).rstrip("/") + "/v2/" + path)

    @contextlib.contextmanager
    def send(self, request: Request) -> Iterator[httpx.Response]:
        """Yield the response, its body not yet read. An unexpected status raises an ImageError."""
        response = self._send_with_retries(request)
        try:
            if response.status_code not in request.expect:
                raise _status_error(response)
            yield response
        except httpx.TransportError as exc:
            raise connection_error(exc, request.url) from exc
        finally:
            response.close()

    def _send_with_retries(self, request: Request) -> httpx.Response:
        tries = min(request.tries, self.most_tries)
        for attempt in range(1, tries + 1):
            is_last = attempt == tries
            try:
                response = self._send_authorized(request)
            except httpx.TransportError as exc:
                failure = connection_error(exc, request.url)
                if is_last or _is_final(failure):
                    raise failure from exc
                self._wait(attempt, None)
                continue
            if response.status_code not in _AGAIN or is_last:
                return response
            response.close()
            self._wait(attempt, response.headers.get("Retry-After"))
        message = f"{request.url.host}: no request was sent"
        raise RegistryUnreachable(message)

    def _wait(self, attempt: int, retry_after: str | None) -> None:
        pause = self.pause * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
        if retry_after is not None and retry_after.isdigit():
            pause = max(pause, float(retry_after))
        time.sleep(min(pause, _LONGEST_PAUSE))

    def _send_authorized(self, request: Request) -> httpx.Response:
        with self._lock:
            known = self._headers.get(request.scope, self._basic)
        response = self._follow_redirects(request, known)
        if response.status_code != 401 or _origin(request.url) != _origin(self.base):
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        response.close()
        authorization = self._authorize(challenge, request.scope)
        if authorization is None:
            reason = "login required; log in with withRegistryAuth or 'docker login'"
            raise _denial(request.url, reason)
        with self._lock:
            self._headers[request.scope] = authorization
            if authorization.startswith("Basic "):  # the same for all scopes
                self._basic = authorization
        return self._follow_redirects(request, authorization)

    def _follow_redirects(self, request: Request, authorization: str | None) -> httpx.Response:
        url = request.url
        for _ in range(_MOST_REDIRECTS):
            response = self._send_to(url, request, authorization)
            if response.status_code not in _REDIRECTS or "Location" not in response.headers:
                return response
            response.close()
            target = url.join(response.headers["Location"])
            if url.scheme == "https" and target.scheme != "https":
                raise _denial(url, f"it redirects to {target.scheme}://{target.host} without TLS")
            url = target
        message = f"{url.host}: too many redirects"
        raise RegistryUnreachable(message)

    def _send_to(
        self, url: httpx.URL, request: Request, authorization: str | None
    ) -> httpx.Response:
        headers = dict(request.headers)
        if authorization is not None and _origin(url) == _origin(self.base):
            headers["Authorization"] = authorization
        content = request.body() if request.body is not None else None
        built = self.client.build_request(request.method, url, headers=headers, content=content)
        return self.client.send(built, stream=True)

    def _authorize(self, challenge: str, scope: str) -> str | None:
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            return self.login.basic() if self.login is not None else None
        if kind.lower() != "bearer":
            return None
        parameters = dict(_PARAMETER.findall(rest))
        realm = httpx.URL(parameters.get("realm", ""))
        if realm.scheme not in ("https", self.base.scheme) or not realm.host:
            return None
        query = {"scope": scope}
        if "service" in parameters:
            query["service"] = parameters["service"]
        headers = {}
        if self.login is not None and same_owner(self.base, realm):
            headers["Authorization"] = self.login.basic()
        return self._token(realm.copy_merge_params(query), headers)

    def _token(self, url: httpx.URL, headers: Mapping[str, str]) -> str:
        response = self.client.get(url, headers=dict(headers))
        if response.status_code in _AGAIN:
            raise RegistryUnreachable(_status(response))
        if response.status_code != 200 or len(response.content) > _LARGEST_ANSWER:
            raise _denial(url, f"the token service answered with status {response.status_code}")
        try:
            document = response.json()
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError) as exc:
            raise _denial(url, "the token response is not valid JSON") from exc
        if not isinstance(token, str) or not token:
            raise _denial(url, "the token response has no token")
        return f"Bearer {token}"


def same_owner(registry: httpx.URL, realm: httpx.URL) -> bool:
    """Whether a token service may get the registry's login: same host, or same parent domain."""
    if _origin(registry) == _origin(realm):
        return True
    if realm.scheme != "https" or is_address(registry.host) or is_address(realm.host):
        return False
    if registry.host == realm.host:
        return True
    parent = registry.host.partition(".")[2]
    labels = parent.split(".")
    if len(labels) < 2 or (len(labels) == 2 and labels[0] in _SECOND_LEVEL):
        return False
    return realm.host == parent or realm.host.endswith("." + parent)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host is localhost or a loopback address."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def connection_error(exc: httpx.TransportError, url: httpx.URL) -> ImageError:
    """The error to report for a failed connection."""
    port = url.port or (443 if url.scheme == "https" else 80)
    place = f"{url.host}:{port}"
    if isinstance(exc, httpx.TimeoutException):
        message = f"{place} did not answer in time: try again, or configure a mirror"
        return RegistryTimeout(message)
    cause = _cause(exc)
    if isinstance(cause, ConnectionRefusedError):
        reason = f"dial tcp {place}: {_REFUSED}"
    elif isinstance(cause, socket.gaierror):
        reason = f"dial tcp: lookup {url.host}: {_NO_HOST}"
    elif isinstance(cause, ssl.SSLCertVerificationError):
        message = (
            f"tls: {place}: certificate not trusted: {cause.verify_message}; set SSL_CERT_FILE to "
            "a file that has the certificate of its authority"
        )
        return RegistryUnreachable(message)
    elif cause is not None and cause.strerror:
        reason = f"dial tcp {place}: {cause.strerror.lower()}"
    else:
        reason = f"dial tcp {place}: {str(exc) or 'the connection failed'}"
    return RegistryUnreachable(f"{reason}; check {_proxy_of(exc)}the address and the network")


def _proxy_of(exc: httpx.TransportError) -> str:
    """The proxy that a request went through, for a list of what to check; empty without one."""
    try:
        variable = exc.request.extensions.get(PROXY_EXTENSION)
    except RuntimeError:  # an error without its request
        return ""
    return f"the proxy in {variable}, " if variable else ""


def _is_final(failure: ImageError) -> bool:
    text = str(failure)
    return _REFUSED in text or _NO_HOST in text or text.startswith("tls: ")


def _cause(exc: BaseException) -> OSError | None:
    found: BaseException | None = exc
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    return found if isinstance(found, OSError) else None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _status_error(response: httpx.Response) -> ImageError:
    status = response.status_code
    if status == 404:
        return ImageNotFound(f"{response.url.path}: not found")
    if status in (401, 403):
        return _denial(response.url, f"status {status}; check the login and its permissions")
    return RegistryUnreachable(f"{_status(response)}; try again, or check the registry")


def _status(response: httpx.Response) -> str:
    with contextlib.suppress(httpx.TransportError):  # the status alone says enough
        detail = next(response.iter_text(500), "") if not response.is_closed else ""
        said = f": {detail[:500]}" if detail.strip() else ""
        return f"{_place(response.url)}: unexpected status {response.status_code}{said}"
    return f"{_place(response.url)}: unexpected status {response.status_code}"


def _denial(url: httpx.URL, reason: str) -> RegistryDenied:
    return RegistryDenied(f"{_place(url)} denied access: {reason}")


def _place(url: httpx.URL) -> str:
    """The host, with its port if it has one."""
    return url.netloc.decode()
