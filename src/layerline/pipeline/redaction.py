"""Takes out of a statement what only the publisher may know: secrets, private hosts, local paths.

What is replaced is said in its place; nothing is left out.
"""

import ipaddress
import re
from collections.abc import Iterable
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
_LOCAL = re.compile(r"(?<![\w.-])(?:/(?:home|Users)/[^/\s:\"']+|/root|/tmp)(?:/[^\s:\"',\]]*)?")
_WINDOWS = re.compile(r"\b[A-Za-z]:\\[^\s\"']*")
_URL_HOST = re.compile(r"(?<=://)(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d+)?")
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])(:\d+)?")
_NAME = re.compile(
    r"(?<![\w.-])(?:[A-Za-z0-9-]+\.)+(?:local|localdomain|internal|intranet|lan|corp|home|private)"
    r"(?![\w-])(?:\.arpa)?(:\d+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is known to be secret: complete values, and hosts of this network."""

    secrets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def apply(self, value: Any) -> Any:  # noqa: ANN401
        """A JSON value without it; in a table, values of variables that are named for secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(str(key)): SECRET
                if isinstance(each, str) and each and _SECRET_NAME.search(str(key))
                else self.apply(each)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.apply(each) for each in value]
        return value

    def text(self, text: str) -> str:
        """A text without it."""
        for each in _longest_first(self.secrets):
            text = text.replace(each, SECRET)
        text = _LOGIN.sub("", text)
        for each in _longest_first(self.hosts):
            text = re.sub(rf"(?<![\w.-]){re.escape(each)}(?![\w-])", HOST, text)
        text = _URL_HOST.sub(lambda found: HOST if is_private(found[1]) else found[0], text)
        text = _ADDRESS.sub(lambda found: HOST if _is_local(found[0]) else found[0], text)
        return _WINDOWS.sub(PATH, _LOCAL.sub(PATH, _NAME.sub(HOST, text)))


def is_private(host: str) -> bool:
    """Whether a host of a URL is one of this network: an address or a name that only it knows."""
    host = host.strip("[]")
    if host == HOST:
        return False
    if ":" in host or host.replace(".", "").isdigit():
        return _is_local(host)
    return "." not in host or _NAME.fullmatch(host) is not None


def _is_local(address: str) -> bool:
    """Whether an address is one of this machine or of a private network (RFC 1918, RFC 4193)."""
    plain = address if address.count(":") > 1 else address.partition(":")[0]
    try:
        return ipaddress.ip_address(plain).is_private
    except ValueError:
        return False


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted({each for each in texts if len(each) >= _SHORTEST}, key=lambda text: -len(text))
