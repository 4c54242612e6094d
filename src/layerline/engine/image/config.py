"""The OCI image configuration as a frozen value, read from and written to its JSON document.

Order is kept where users see it (environment, commands); sets (labels, ports, volumes) are sorted
when written, so the same configuration is always the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from layerline.engine.image.platform import Platform
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """Docker's health check. Times are in nanoseconds, as in the document; 0 means inherited."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """An entry of the history: how a layer was created, or a change without a layer."""

    created: str | None = None
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How an image is to be run. An entrypoint or command of None is unset."""

    platform: Platform = field(default_factory=Platform.of_host)
    env: tuple[tuple[str, str], ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    user: str = ""
    workdir: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    onbuild: tuple[str, ...] = ()
    shell: tuple[str, ...] | None = None
    author: str = ""
    created: str | None = None
    history: tuple[History, ...] = ()

    def to_oci(self, diff_ids: Sequence[str]) -> dict[str, Any]:
        """The JSON document for layers with these diff ids; unset members are left out."""
        document: dict[str, Any] = {
            "architecture": self.platform.architecture,
            "config": _without_empty(self._run_part()),
            "created": self.created,
            "author": self.author,
            "history": [_history_document(entry) for entry in self.history],
            "os": self.platform.os,
            "variant": self.platform.variant,
        }
        return {
            **_without_empty(document),
            "config": document["config"],
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }

    def _run_part(self) -> dict[str, Any]:
        return {
            "User": self.user,
            "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
            "Env": [f"{name}={value}" for name, value in self.env],
            "Entrypoint": _list_or_none(self.entrypoint),
            "Cmd": _list_or_none(self.cmd),
            "Healthcheck": _healthcheck_document(self.healthcheck) if self.healthcheck else None,
            "Volumes": {path: {} for path in sorted(self.volumes)},
            "WorkingDir": self.workdir,
            "Labels": dict(sorted(self.labels)),
            "StopSignal": self.stop_signal,
            "OnBuild": list(self.onbuild),
            "Shell": _list_or_none(self.shell),
        }

    @classmethod
    def from_oci(cls, document: Mapping[str, Any]) -> ImageConfig:
        """Parse an untrusted document; raises ArchiveInvalid for a member of the wrong type."""
        run = _mapping(document, "config")
        config = cls(
            platform=Platform.of(
                _text(document, "os") or "linux",
                _text(document, "architecture") or Platform.of_host().architecture,
                _text(document, "variant"),
            ),
            env=tuple(_pair(text) for text in _texts(run, "Env") or ()),
            entrypoint=_texts(run, "Entrypoint"),
            cmd=_texts(run, "Cmd"),
            user=_text(run, "User"),
            workdir=_text(run, "WorkingDir"),
            labels=tuple(
                (name, str(value)) for name, value in sorted(_mapping(run, "Labels").items())
            ),
            exposed_ports=tuple(sorted(_mapping(run, "ExposedPorts"))),
            volumes=tuple(sorted(_mapping(run, "Volumes"))),
            stop_signal=_text(run, "StopSignal"),
            healthcheck=_healthcheck(_mapping(run, "Healthcheck")),
            onbuild=_texts(run, "OnBuild") or (),
            shell=_texts(run, "Shell"),
            author=_text(document, "author"),
            created=_text(document, "created") or None,
            history=tuple(_history(entry) for entry in _mappings(document, "history")),
        )
        _check_user(config.user)
        return config


def timestamp(seconds: int) -> str:
    """Seconds since the epoch in RFC 3339, as image documents have it."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_user(user: str) -> None:
    for part in user.split(":"):
        if part.lstrip("+-").isdigit() and not (0 <= int(part) <= LARGEST_ID):
            message = f"invalid user {user!r} in the image: ids must be at most {LARGEST_ID}"
            raise ArchiveInvalid(message)


def _without_empty(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in document.items()
        if value is not None
        and (value not in ("", [], {}) or name in ("Cmd", "Entrypoint", "Shell"))
    }


def _list_or_none(argv: tuple[str, ...] | None) -> list[str] | None:
    return None if argv is None else list(argv)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _healthcheck(document: Mapping[str, Any]) -> Healthcheck | None:
    test = _texts(document, "Test")
    if not test:
        return None
    return Healthcheck(
        test=test,
        interval=_number(document, "Interval"),
        timeout=_number(document, "Timeout"),
        start_period=_number(document, "StartPeriod"),
        start_interval=_number(document, "StartInterval"),
        retries=_number(document, "Retries"),
    )


def _healthcheck_document(check: Healthcheck) -> dict[str, Any]:
    document = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {name: value for name, value in document.items() if value}


def _history(document: Mapping[str, Any]) -> History:
    return History(
        created=_text(document, "created") or None,
        created_by=_text(document, "created_by"),
        comment=_text(document, "comment"),
        author=_text(document, "author"),
        empty_layer=document.get("empty_layer") is True,
    )


def _history_document(entry: History) -> dict[str, Any]:
    document = {
        "created": entry.created,
        "created_by": entry.created_by,
        "comment": entry.comment,
        "author": entry.author,
        "empty_layer": entry.empty_layer or None,
    }
    return _without_empty(document)


def _type_error(name: str, expected: str) -> ArchiveInvalid:
    return ArchiveInvalid(f"invalid image configuration: {name} is not {expected}")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _type_error(name, "a string")
    return value


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _type_error(name, "an integer")
    return value


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _type_error(name, "a list of strings")
    return tuple(value)


def _mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _type_error(name, "an object")
    return value


def _mappings(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise _type_error(name, "a list of objects")
    return value
