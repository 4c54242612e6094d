"""The `--mount=` flags of RUN as values."""

from __future__ import annotations

import csv
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_NAMES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_BARE = frozenset({"readonly", "readwrite", "required"})
_ONLY_FOR = {
    "required": ("secret", "ssh"),
    "size": ("tmpfs",),
    "env": ("secret",),
    "mode": ("secret", "ssh", "cache"),
    "uid": ("secret", "ssh", "cache"),
    "gid": ("secret", "ssh", "cache"),
    "sharing": ("cache",),
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_POWERS = ("", "k", "m", "g", "t", "p")


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFlag:
    """One mount. `stage` is its `from=`, `identity` the id of a cache, secret or agent."""

    kind: str = "bind"
    stage: str = ""
    source: str = ""
    target: str = ""
    identity: str = ""
    readonly: bool | None = None
    required: bool = False
    sharing: str = "shared"
    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str = ""

    @property
    def cache_key(self) -> str:
        """The key of a cache: its id, or else its target."""
        return self.identity or posixpath.normpath(self.target)

    @property
    def secret_name(self) -> str:
        """The name of the secret: the id, or else the base name of source or target."""
        return self.identity or posixpath.basename(self.source or self.target)

    @property
    def owner(self) -> str:
        """`uid:gid`."""
        return f"{self.uid or 0}:{self.gid or 0}"


def mount_stage(text: str) -> str:
    """The value of `from=`, which must not contain variables."""
    for field in _fields(text):
        name, _, value = field.partition("=")
        if name.lower() == "from":
            if re.search(r"\$.", value):
                message = "'from' doesn't support variable expansion, define alias stage instead"
                raise QueryError(message)
            return value
    return ""


def parse_mount(text: str, expand: Callable[[str], str]) -> MountFlag:
    """Read the value of a --mount flag."""
    found: dict[str, Any] = {}
    for field in _fields(text):
        key, given, value = field.partition("=")
        name = _NAMES.get(key.lower(), key.lower())
        if not given and name not in _BARE:
            message = f"invalid field '{field}' must be a key=value pair"
            raise QueryError(message)
        if name not in _READERS:
            message = f"unexpected key '{key}' in '{field}'"
            raise QueryError(message)
        found[name] = _READERS[name](key, expand(value) if given else "true")
    return _mount_flag(found)


def _fields(text: str) -> list[str]:
    return next(csv.reader([text]), [])


def _mount_flag(found: dict[str, Any]) -> MountFlag:
    kind = found.get("type", "bind")
    for name, kinds in _ONLY_FOR.items():
        if name in found and kind not in kinds:
            message = f"unexpected key '{name}' for mount type '{kind}'"
            raise QueryError(message)
    if "readwrite" in found:
        found["readonly"] = not found.pop("readwrite")
    flag = MountFlag(**{_MEMBERS.get(name, name): value for name, value in found.items()})
    if kind == "secret" and flag.stage:
        message = "secret mount should not have a from"
        raise QueryError(message)
    if kind == "secret" and not flag.secret_name:
        message = "invalid secret mount. one of source, target required"
        raise QueryError(message)
    if kind in ("bind", "cache", "tmpfs") and not flag.target:
        message = f"invalid {kind} mount: a target is required"
        raise QueryError(message)
    return flag


def _one_of(choices: tuple[str, ...], what: str) -> Callable[[str, str], str]:
    def convert(_key: str, value: str) -> str:
        if value.lower() not in choices:
            message = f'unsupported {what} "{value}"'
            raise QueryError(message)
        return value.lower()

    return convert


def _text(_key: str, value: str) -> str:
    return value


def _truth(key: str, value: str) -> bool:
    if value.lower() not in ("1", "t", "true", "0", "f", "false"):
        message = f"invalid value for {key}: {value}"
        raise QueryError(message)
    return value.lower() in ("1", "t", "true")


def _number(base: int) -> Callable[[str, str], int]:
    def convert(key: str, value: str) -> int:
        try:
            return int(value, base)
        except ValueError as exc:
            message = f"invalid value {value} for {key}"
            raise QueryError(message) from exc

    return convert


def _bytes(key: str, value: str) -> int:
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        message = f"invalid value for {key}: {value}"
        raise QueryError(message)
    return int(float(match[1]) * 1024 ** _POWERS.index(match[2].lower()))


_MEMBERS = {"type": "kind", "from": "stage", "id": "identity"}
_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "type": _one_of(_KINDS, "mount type"),
    "from": _text,
    "source": _text,
    "target": _text,
    "id": _text,
    "env": _text,
    "readonly": _truth,
    "readwrite": _truth,
    "required": _truth,
    "sharing": _one_of(_SHARING, "sharing value"),
    "size": _bytes,
    "mode": _number(8),
    "uid": _number(10),
    "gid": _number(10),
}
