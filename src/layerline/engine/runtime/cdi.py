"""The Container Device Interface: what a container needs to use a device, as its vendor says.

A specification names devices of one kind (`nvidia.com/gpu`) and for each the device nodes, mounts,
variables, hooks and groups that it adds to an OCI configuration. See the SPEC.md of
github.com/cncf-tags/container-device-interface, version 1.0.0, and its pkg/cdi/container-edits.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DEFAULT_KIND = "nvidia.com/gpu"
ALL = "all"
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_VERSION = re.compile(r"[01]\.\d+\.\d+")
_KIND = re.compile(r"[A-Za-z0-9]([-.\w]*[A-Za-z0-9])?/gpu")
_NAME = re.compile(r"[A-Za-z0-9]([-_.:\w]*[A-Za-z0-9])?")
_MEMBERS = {
    "deviceNodes": {
        *("path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid")
    },
    "mounts": {"hostPath", "containerPath", "options", "type"},
    "hooks": {"hookName", "path", "args", "env", "timeout"},
    "env": set(),
    "additionalGids": set(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """A device; what is None is that of `host_path`, or the container's default."""

    path: str
    host_path: str
    kind: str | None = None
    major: int | None = None
    minor: int | None = None
    mode: int | None = None
    permissions: str = "rwm"
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMount:
    """A file or directory of the host; `options` are those of mount(8)."""

    host_path: str
    container_path: str
    options: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceHook:
    """A program that the runtime starts at a moment of the container's life."""

    name: str
    path: str
    argv: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What devices add to a container."""

    env: tuple[tuple[str, str], ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[DeviceMount, ...] = ()
    hooks: tuple[DeviceHook, ...] = ()
    groups: tuple[int, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        """Both; what they share comes once."""
        return Edits(
            env=(*self.env, *other.env),
            nodes=_once(self.nodes, other.nodes),
            mounts=_once(self.mounts, other.mounts),
            hooks=(*self.hooks, *other.hooks),
            groups=_once(self.groups, other.groups),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """The devices of one kind by their names; `common` is for whoever uses one of them."""

    origin: str
    kind: str
    devices: Mapping[str, Edits]
    common: Edits = field(default_factory=Edits)


def parse(document: Any, origin: str) -> Specification | None:  # noqa: ANN401  JSON or YAML
    """A specification of GPUs; None for one of other devices. `origin` is named in errors.

    Raises HostError for what this version does not understand: a device without a part of what its
    vendor asks for does not work.
    """
    if not isinstance(document, dict) or not _VERSION.match(str(document.get("cdiVersion"))):
        message = f"{origin} is not a CDI specification of version 0.x or 1.x"
        raise HostError(message)
    kind = str(document.get("kind"))
    if not _KIND.fullmatch(kind):
        return None
    try:
        devices = {
            _checked(str(device["name"]), _NAME, origin): _edits(device["containerEdits"], origin)
            for device in document["devices"]
        }
        common = _edits(document.get("containerEdits") or {}, origin)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        message = f"{origin} is not a CDI specification: {exc!r}"
        raise HostError(message) from exc
    return Specification(origin=origin, kind=kind, devices=devices, common=common)


def select(names: Sequence[str], specifications: Sequence[Specification]) -> Edits:
    """The edits for devices: `all`, names of NVIDIA's, or qualified ones (`vendor.com/gpu=0`).

    `specifications` are in the order of their priority, highest last. Raises HostError for a name
    that none has.
    """
    used: dict[int, Specification] = {}
    edits = Edits()
    for name in names:
        kind, _, device = name.rpartition("=")
        of_kind = [each for each in specifications if each.kind == (kind or DEFAULT_KIND)]
        for each, found in _devices(device, of_kind, name):
            used[id(each)] = each
            edits += found
    common = Edits()
    for each in used.values():
        common += each.common
    return common + edits


def _devices(
    device: str, of_kind: Sequence[Specification], name: str
) -> Iterable[tuple[Specification, Edits]]:
    latest = {known: each for each in of_kind for known in each.devices}
    if device in latest:
        return [(latest[device], latest[device].devices[device])]
    if device == ALL and latest:
        return [(each, each.devices[known]) for known, each in latest.items()]
    known = ", ".join(sorted(latest)) or "none"
    message = f"no GPU {name!r} in the CDI specifications of this machine: it has {known}"
    raise HostError(message)


def _edits(document: Mapping[str, Any], origin: str) -> Edits:
    for member in document:
        if member not in _MEMBERS:
            message = f"{origin}: {member} of containerEdits is not supported"
            raise HostError(message)
        for item in document[member] or ():
            unknown = set(item) - _MEMBERS[member] if isinstance(item, dict) else ()
            if unknown:
                message = f"{origin}: {member} have no {', '.join(sorted(unknown))}"
                raise HostError(message)
    return Edits(
        env=tuple(_variable(text) for text in document.get("env") or ()),
        nodes=tuple(map(_node, document.get("deviceNodes") or ())),
        mounts=tuple(_mount(item, origin) for item in document.get("mounts") or ()),
        hooks=tuple(_hook(item, origin) for item in document.get("hooks") or ()),
        groups=tuple(int(gid) for gid in document.get("additionalGids") or () if int(gid) > 0),
    )


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        message = f"variable {text!r} is not NAME=value"
        raise ValueError(message)
    return name, value


def _node(item: Mapping[str, Any]) -> DeviceNode:
    def number(name: str) -> int | None:
        return None if item.get(name) is None else int(item[name])

    permissions = str(item.get("permissions") or "rwm")
    if set(permissions) - set("rwm"):
        message = f"permissions {permissions!r} are not of r, w and m"
        raise ValueError(message)
    path = _absolute(str(item["path"]))
    return DeviceNode(
        path=path,
        host_path=_absolute(str(item.get("hostPath") or path)),
        kind={"c": "c", "u": "c", "b": "b", "": None}[str(item.get("type") or "")],
        major=number("major"),
        minor=number("minor"),
        mode=number("fileMode"),
        permissions=permissions,
        uid=number("uid"),
        gid=number("gid"),
    )


def _mount(item: Mapping[str, Any], origin: str) -> DeviceMount:
    if item.get("type") not in (None, "", "bind", "none"):
        message = f"{origin}: mounts of type {item['type']} are not supported"
        raise HostError(message)
    return DeviceMount(
        host_path=_absolute(str(item["hostPath"])),
        container_path=_absolute(str(item["containerPath"])),
        options=frozenset(map(str, item.get("options") or ())),
    )


def _hook(item: Mapping[str, Any], origin: str) -> DeviceHook:
    name = str(item["hookName"])
    if name not in HOOKS:
        message = f"{origin}: unknown hook {name!r}"
        raise HostError(message)
    return DeviceHook(
        name=name,
        path=_absolute(str(item["path"])),
        argv=tuple(map(str, item.get("args") or ())),
        env=tuple(map(str, item.get("env") or ())),
        timeout=None if item.get("timeout") is None else int(item["timeout"]),
    )


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        message = f"path {path!r} is not absolute"
        raise ValueError(message)
    return path


def _checked(text: str, pattern: re.Pattern[str], origin: str) -> str:
    if not pattern.fullmatch(text):
        message = f"{origin}: invalid name {text!r}"
        raise HostError(message)
    return text


def _once(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*first, *second)))
