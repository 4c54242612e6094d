"""CA certificates, proxies, names and the clock: what breaks downloads inside steps."""

from __future__ import annotations

import email.utils
import queue
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

_DEFAULT_HOST = "docker.io"
_BUNDLES = ("ssl/certs/ca-certificates.crt", "pki/tls/certs/ca-bundle.crt", "ssl/cert.pem")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_FUTURE = 3600.0


def check_certificates(subject: Subject) -> Iterator[Observation]:
    """The bundle that Layerline puts into steps; without one, nothing there trusts anything."""
    named = subject.environ.get("SSL_CERT_FILE")
    places = [Path(named)] if named else [subject.etc / name for name in _BUNDLES]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        commands = ("sudo apt-get install --yes ca-certificates", "sudo update-ca-certificates")
        yield Observation(
            f"no CA certificates at {places[0]}", commands, facts={"places": list(map(str, places))}
        )
        return
    try:
        ssl.create_default_context(cafile=str(found))
    except (ssl.SSLError, OSError) as exc:
        yield Observation(
            f"{found} cannot be read: {exc}", ("sudo update-ca-certificates --fresh",)
        )


def check_proxy(subject: Subject) -> Iterator[Observation]:
    """Proxies that cannot work, and two spellings that say different things."""
    environ = subject.environ
    names = [name for name in (*_PROXIES, *map(str.upper, _PROXIES)) if environ.get(name)]
    if not names:
        message = "no proxy is set"
        raise NotApplicable(message)
    for name in names:
        parts = urlsplit(environ[name])
        if (
            parts.scheme not in ("http", "https", "socks4", "socks5", "socks5h")
            or not parts.hostname
        ):
            text = f"{name} is {_mask_password(environ[name])}, which is not a URL"
            yield Observation(text, (f"export {name}=http://HOST:PORT",))
        elif (
            parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
        ) and not _answers(parts.hostname, parts.port or 80, subject.limits.network):
            yield Observation(
                f"nothing listens at {name}={_mask_password(environ[name])}", (f"unset {name}",)
            )
    for name in _PROXIES:
        lower, upper = environ.get(name), environ.get(name.upper())
        if lower and upper and lower != upper:
            commands = (f'export {name.upper()}="${name}"',)
            yield Observation(
                f"{name} and {name.upper()} differ", commands, severity=Severity.MEDIUM
            )
    bypass = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not re.search(r"(^|,)\s*(\*|localhost|127\.0\.0\.1)", bypass):
        yield Observation(
            "no_proxy does not name localhost",
            ("export no_proxy=localhost,127.0.0.1,::1${no_proxy:+,$no_proxy}",),
            severity=Severity.MEDIUM,
            impact="Requests to services on this machine go to the proxy and fail.",
        )


def check_dns(subject: Subject) -> Iterator[Observation]:
    """The host that images come from; behind a proxy, the proxy resolves names."""
    if _has_proxy(subject):
        message = "the proxy resolves names"
        raise NotApplicable(message)
    host = _hosts(subject)[0]
    servers = re.findall(
        r"^nameserver\s+(\S+)", subject.text(subject.etc / "resolv.conf"), re.MULTILINE
    )
    began = time.monotonic()
    error = _lookup(host, subject.limits.network)
    if error:
        said = f"; name servers: {', '.join(servers)}" if servers else "; no name server is set"
        commands = (f"getent hosts {host}", "cat /etc/resolv.conf")
        yield Observation(
            f"{host} does not resolve: {error}{said}", commands, facts={"servers": servers}
        )
        return
    local = [server for server in servers if server.startswith("127.")]
    if local and subject.docker.server and not (subject.etc / "docker/daemon.json").exists():
        facts = {"servers": servers, "seconds": time.monotonic() - began}
        yield Observation(
            f"the only name servers are local ({', '.join(local)}); containers cannot reach them",
            ("cat /run/systemd/resolve/resolv.conf",),
            severity=Severity.INFO,
            impact="docker falls back to public name servers, which know no internal names.",
            fix="Set `dns` in /etc/docker/daemon.json if builds need internal names.",
            facts=facts,
        )


def check_clock(subject: Subject) -> Iterator[Observation]:
    """Against a server's Date where one answers, else against the files of the project."""
    now = time.time()
    for url in _urls(subject):
        patience = subject.limits.network
        date = _date(url, patience) if _is_reachable(subject, url, patience) else None
        if date is None:
            continue
        skew = now - date
        if abs(skew) > subject.limits.skew:
            way = "ahead of" if skew > 0 else "behind"
            yield _clock_skew(
                f"the clock is {abs(skew):.0f} s {way} that of {urlsplit(url).hostname}", skew
            )
        return
    newest = max(
        (path.stat().st_mtime for path in subject.project.iterdir() if path.is_file()), default=0.0
    )
    if newest > now + _FUTURE:
        yield _clock_skew(
            f"files of the project are {newest - now:.0f} s in the future", now - newest
        )


def _is_reachable(subject: Subject, url: str, patience: float) -> bool:
    return _has_proxy(subject) or not _lookup(url, patience)


def _has_proxy(subject: Subject) -> bool:
    return any(subject.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY"))


def _clock_skew(text: str, skew: float) -> Observation:
    return Observation(
        text, ("timedatectl status", "sudo hwclock --hctosys"), facts={"seconds": round(skew, 1)}
    )


def _urls(subject: Subject) -> list[str]:
    return [host if "://" in host else f"https://{host}" for host in _hosts(subject)]


def _hosts(subject: Subject) -> list[str]:
    """The hosts that images come from: the mirrors, or the default registry."""
    mirrors = subject.environ.get("LAYERLINE_REGISTRY_MIRRORS", "")
    named = [pair.partition("=")[2] for pair in mirrors.split(",") if "=" in pair]
    return [url for url in named if url] or [_DEFAULT_HOST]


def _date(url: str, seconds: float) -> float | None:
    """The server's clock, read from any answer of it; None where none comes."""
    request = urllib.request.Request(url, method="HEAD")
    unverified = ssl._create_unverified_context()
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=unverified))
    try:
        with opener.open(request, timeout=seconds) as answer:
            header = answer.headers.get("Date")
    except urllib.error.HTTPError as exc:
        header = exc.headers.get("Date")
    except (OSError, ValueError):
        return None
    if not header:
        return None
    return email.utils.parsedate_to_datetime(header).timestamp()


def _lookup(host: str, seconds: float) -> str:
    """Why a name cannot be looked up; a resolver that does not answer is not waited for."""
    name = (urlsplit(host).hostname or host) if "://" in host else host
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:
        try:
            socket.getaddrinfo(name, None)
        except OSError as exc:
            answers.put(exc.strerror or str(exc))
        else:
            answers.put("")

    threading.Thread(target=ask, daemon=True).start()  # the process may end before it does
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:g} s"


def _answers(host: str, port: int, seconds: float) -> bool:
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def _mask_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)


CHECKS = (
    Check(
        name="ca-certificates",
        title="CA certificates are installed",
        severity=Severity.HIGH,
        impact="Every download over TLS fails, on the host and in build steps.",
        fix="Install the distribution's bundle, and add the company's CA to it where there is one.",
        run=check_certificates,
    ),
    Check(
        name="proxy",
        title="proxies work",
        severity=Severity.HIGH,
        impact="Downloads fail or hang, on the host or only in build steps.",
        fix="Correct the variables.",
        run=check_proxy,
    ),
    Check(
        name="dns",
        title="names resolve",
        severity=Severity.HIGH,
        impact="Nothing can be downloaded.",
        fix="Correct /etc/resolv.conf, or name a mirror that this machine can reach.",
        run=check_dns,
        waits=True,
    ),
    Check(
        name="clock",
        title="the clock is right",
        severity=Severity.HIGH,
        impact="Certificates seem expired or not yet valid, apt refuses its lists, caches misjudge "
        "what is new.",
        fix="Set the clock; after WSL slept, restart it with `wsl --shutdown`.",
        run=check_clock,
        waits=True,
    ),
)
