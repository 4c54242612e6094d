"""Which registries share results with other machines, as the user sets it.

A name of a repository is `HOST/REPOSITORY`: a cache never is a short name of Docker Hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline.errors import UsageError
from layerline.settings_table import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_KEYS = ("registry", "mode", "wait", "private", "access_secrets")
# What the pipeline gives its steps for downloads: a netrc file, hosts, arguments of installers.
_ACCESS = ("layerline-netrc", "layerline-masked", "layerline-arguments-*")
# OCI distribution-spec: "Pulling manifests".
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(f"{_PART}(?:/{_PART})*")
_MODES = {"read": False, "read,write": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCache:
    """The repositories to read from, in order; the first is written to if the user `writes`.

    With `waits` a command ends once everything is sent. `private` names functions whose results are
    not shared, as `Object.function`. `access` are patterns for names of secrets that only open
    downloads: the results of steps that were given these are shared if they hold none of them.
    """

    places: tuple[str, ...] = ()
    writes: bool = False
    waits: bool = True
    private: frozenset[str] = frozenset()
    access: tuple[str, ...] = _ACCESS

    @classmethod
    def read(
        cls, environ: Mapping[str, str], document: Mapping[str, object], config: Path
    ) -> RegistryCache:
        """Read the variables, and `[cache]` of the settings file."""
        example = "e.g. [cache] registry = 'HOST/NAME'"
        table = read_table(document, "cache", _KEYS, config, example=example)
        where = f"[cache] of {config}"
        named = environ.get("LAYERLINE_CACHE")
        places = _list(table, "registry", where) if named is None else [named]
        mode = environ.get("LAYERLINE_CACHE_MODE")
        waits = environ.get("LAYERLINE_CACHE_WAIT")
        return cls(
            places=_places(places),
            writes=_writes(mode, "LAYERLINE_CACHE_MODE")
            if mode
            else _writes(table.get("mode", "read"), f"mode in {where}"),
            waits=_waits(waits, "LAYERLINE_CACHE_WAIT")
            if waits
            else _waits(table.get("wait", True), f"wait in {where}"),
            private=frozenset(_list(table, "private", where)),
            access=tuple(_list(table, "access_secrets", where))
            if "access_secrets" in table
            else _ACCESS,
        )

    def chosen(self, places: str | None, *, waits: bool) -> RegistryCache:
        """With the places of a flag, if it was given, in place of these."""
        named = self.places if places is None else _places([places])
        return replace(self, places=named, waits=self.waits and waits)


def _places(texts: Sequence[str]) -> tuple[str, ...]:
    """The places in lists with commas, checked."""
    names = [name.strip() for text in texts for name in text.split(",")]
    return tuple(_place(name) for name in names if name)


def _list(table: Mapping[str, object], key: str, where: str) -> list[str]:
    value = table.get(key, [])
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        message = f"invalid {key} in {where}: use a text, or a list of texts"
        raise UsageError(message)
    return [str(each) for each in value]


def _place(text: str) -> str:
    host, slash, repository = text.partition("/")
    names_host = "." in host or ":" in host or host == "localhost"
    if not slash or not names_host or not _REPOSITORY.fullmatch(repository):
        message = (
            f"invalid cache {text!r}: use HOST/REPOSITORY, e.g. registry.example.com/team/cache"
        )
        raise UsageError(message)
    return text


def _writes(mode: object, name: str) -> bool:
    found = _MODES.get(str(mode).replace(" ", ""))
    if found is None:
        message = f"invalid {name} '{mode}': use 'read' or 'read,write'"
        raise UsageError(message)
    return found


def _waits(value: object, name: str) -> bool:
    if value not in (True, False, "true", "false"):
        message = f"invalid {name} '{value}': use true or false"
        raise UsageError(message)
    return value in (True, "true")
