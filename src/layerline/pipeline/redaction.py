"""Takes out of a statement what only the publisher may know: secrets, private hosts, local paths.

What is replaced is said in its place; nothing is left out.
"""

import base64
import contextlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

SECRET = "***"
HOST = "private-host.invalid"  # RFC 2606: nobody has it
PATH = "/local-path"
_SHORTEST = 4
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_NAME = re.compile(
    r"(^|_)(token|password|passwd|secret|credentials?|apikey|api_key|private_key|access_key)(_|$)",
    re.IGNORECASE,
)
_LOCAL = re.compile(r"(?<![\w./-])(?:/(?:home|Users)/[^/\s:\"']+|/root|/tmp)(?:/[^\s:\"',\]]*)?")
_WINDOWS = re.compile(r"\b[A-Za-z]:\\[^\s\"']*")
_SUFFIX = r"(?:local|localdomain|internal|intranet|lan|corp|home|private|home\.arpa)"
_URL_HOST = re.compile(r"(?<!file://)(?<=://)(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::\d+)?")
_NAME = re.compile(rf"(?:[A-Za-z0-9-]+\.)+{_SUFFIX}", re.IGNORECASE)
# Elsewhere only with a port: versions have four numbers, and modules of Python names with dots.
_PLACE = re.compile(
    rf"(?<![\w./@-])(\d{{1,3}}(?:\.\d{{1,3}}){{3}}|(?:[A-Za-z0-9-]+\.)+{_SUFFIX}):\d{{1,5}}(?!\w)",
    re.IGNORECASE,
)
_LOGIN_FIELDS = frozenset({"auth", "password", "identitytoken", "registrytoken"})
_PASSWORD = re.compile(r"\bpassword\s+(\S+)")
_SHORTEST_LINE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is known to be secret: complete values, and hosts of this network."""

    secrets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def apply(self, value: Any, *, alone: bool = False) -> Any:  # noqa: ANN401
        """A JSON value without it; in a table, values of variables that are named for secrets.

        `alone` is for values that a person wrote: a text that is a private host and nothing else is
        replaced too. Elsewhere it may be a version.
        """
        if isinstance(value, str):
            return HOST if alone and is_private(value) and "." in value else self.text(value)
        if isinstance(value, dict):
            return {
                self.text(str(key)): SECRET
                if isinstance(each, str) and each and _SECRET_NAME.search(str(key))
                else self.apply(each, alone=alone)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.apply(each, alone=alone) for each in value]
        return value

    def text(self, text: str) -> str:
        """A text without it."""
        for each in _longest_first(self.secrets):
            text = text.replace(each, SECRET)
        text = _LOGIN.sub("", text)
        for each in _longest_first(self.hosts):
            text = re.sub(rf"(?<![\w.-]){re.escape(each)}(?![\w-])", HOST, text)
        text = _URL_HOST.sub(lambda found: HOST if is_private(found[1]) else found[0], text)
        text = _PLACE.sub(lambda found: HOST if is_private(found[1]) else found[0], text)
        return _WINDOWS.sub(PATH, _LOCAL.sub(PATH, text))


def secret_values(text: str) -> tuple[str, ...]:
    """What to hide of a secret: a login, a netrc file, docker's config.json, or a PEM file."""
    text = text.strip()
    if text.startswith("{"):
        return tuple(_of_config(text))
    if "-----BEGIN" in text:
        return tuple(
            line for line in text.splitlines() if len(line) >= _SHORTEST_LINE and line[:1] != "-"
        )
    return (text, *_PASSWORD.findall(text), text.partition(":")[2])


def _of_config(text: str) -> Iterator[str]:
    try:
        logins = json.loads(text).get("auths", {}).values()
    except (ValueError, AttributeError):
        return
    for name, value in [each for login in logins for each in login.items()]:
        if name in _LOGIN_FIELDS:
            yield str(value)
        if name == "auth":
            with contextlib.suppress(ValueError):
                yield base64.b64decode(str(value)).decode().partition(":")[2]


def is_private(host: str) -> bool:
    """Whether a host is one of this network: an address or a name that only it knows."""
    host = host.strip("[]")
    if host == HOST:
        return False
    if ":" in host or host.replace(".", "").isdigit():
        return _is_local(host)
    return "." not in host or _NAME.fullmatch(host) is not None


def _is_local(address: str) -> bool:
    """Whether an address is one of this machine or of a private network (RFC 1918, RFC 4193)."""
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted({each for each in texts if len(each) >= _SHORTEST}, key=lambda text: -len(text))
