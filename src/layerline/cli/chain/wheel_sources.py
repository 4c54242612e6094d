"""Where this machine has wheels from: what Layerline's settings, uv and pip are configured with.

They are defaults of the pipeline's own flags. For each kind the first of these that names something
counts: `[wheels]` of the settings file, uv's variables, pip's variables, uv.toml, pip.conf.

https://docs.astral.sh/uv/reference/environment/, https://docs.astral.sh/uv/reference/settings/,
https://pip.pypa.io/en/stable/topics/configuration/
"""

from __future__ import annotations

import configparser
import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from layerline import log
from layerline.engine.module.indexes import pip_files
from layerline.text_file import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layerline.engine.module.types import Member
    from layerline.settings import Settings

# The pipeline's arguments; a module that has all of them is made from it.
INDEX, EXTRA, WHEELHOUSE, LOGIN = (
    "index_url",
    "extra_index_url",
    "wheelhouse",
    "index_credentials",
)
LOGIN_VARIABLE = "LAYERLINE_INDEX_LOGIN"
LARGEST_WHEELHOUSE = 4 << 30
_FLAGS = {INDEX: "--index-url", EXTRA: "--extra-index-url", WHEELHOUSE: "--wheelhouse"}
_OWN = {INDEX: "index", EXTRA: "extra-indexes", WHEELHOUSE: "wheelhouses"}
_UV_VARIABLES = {
    INDEX: ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    EXTRA: ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    WHEELHOUSE: ("UV_FIND_LINKS",),
}
_PIP = {INDEX: "index-url", EXTRA: "extra-index-url", WHEELHOUSE: "find-links"}
_NAMED_INDEX = re.compile(r"^[A-Za-z0-9_-]+=(?=[a-z]+:)")


@dataclass(slots=True, kw_only=True)
class WheelSources:
    """Texts of flags by argument, where each is from, and what is left out and why.

    `login` is the text of a netrc file with the credentials that URLs hold.
    """

    texts: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    login: str = ""
    noted: set[str] = field(default_factory=set)

    def new_notes(self, used: set[str]) -> Iterator[str]:
        """The notes that this has not given yet: a shell makes many calls."""
        for note in self.notes(used):
            if note not in self.noted:
                self.noted.add(note)
                yield note

    def notes(self, used: set[str]) -> Iterator[str]:
        """Lines that say what is used; neither hosts nor passwords are named."""
        for name in (INDEX, EXTRA, WHEELHOUSE):
            if name in used and name in self.texts:
                yield f"{_FLAGS[name]} is set by {self.origins[name]}"
        if used:
            yield from dict.fromkeys(self.left_out)


def with_login(settings: Settings, sources: WheelSources) -> Settings:
    """The settings with the variable that the pipeline's secret of the sources names."""
    if not sources.login:
        return settings
    return replace(settings, environ={**settings.environ, LOGIN_VARIABLE: sources.login})


def takes_sources(constructor: Member) -> bool:
    """Whether a module's constructor has the arguments of the pipeline."""
    names = {arg.name for arg in constructor.function.args}
    return {INDEX, EXTRA, WHEELHOUSE, LOGIN} <= {_snake(name) for name in names}


def sources_for(constructor: Member, settings: Settings) -> WheelSources:
    """The machine's sources for a module that takes them, none for others."""
    return wheel_sources(settings) if takes_sources(constructor) else WheelSources()


def wheel_sources(settings: Settings) -> WheelSources:
    """The sources of wheels that this machine is configured with."""
    found = WheelSources()
    logins: list[str] = []
    for name in (INDEX, EXTRA, WHEELHOUSE):
        for values, origin in _named(name, settings):
            kept = _kept(name, values, origin, found, logins)
            if kept:
                found.texts[name] = (" " if name == EXTRA else ",").join(kept)
                found.origins[name] = origin
            if values:
                break
    found.login = " ".join(logins)
    if found.login:
        found.texts[LOGIN] = f"env:{LOGIN_VARIABLE}"
    return found


def _kept(
    name: str, values: list[str], origin: str, found: WheelSources, logins: list[str]
) -> list[str]:
    """The values that a container can use; the others are said."""
    kept = []
    for value in values:
        usable, reason = _directory(value) if name == WHEELHOUSE else _without_login(value, logins)
        kept += [usable] if usable else []
        if reason:
            found.left_out.append(f"part of {origin} is not used for {_FLAGS[name]}: {reason}")
    return kept


def _directory(value: str) -> tuple[str, str]:
    """A directory that a value names, or why it is not used."""
    parts = urlsplit(value)
    try:
        path = Path(unquote(parts.path) if parts.scheme == "file" else value).expanduser()
        reason = _too_large(path) if path.is_dir() else "it is not a directory of this machine"
    except OSError as exc:
        return "", reason_of(exc)
    except RuntimeError:
        return "", "it is in the home of an unknown user"
    return ("" if reason else str(path)), reason


def _without_login(value: str, logins: list[str]) -> tuple[str, str]:
    """The URL of an index without the credentials in it, or why it is not used."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https"):
        return "", "it is not an http URL"
    if parts.username is not None:
        login = (unquote(parts.username), unquote(parts.password or ""))
        logins.append(f"machine {parts.hostname} login {login[0]} password {login[1]}")
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(parts), ""


def _too_large(directory: Path) -> str:
    """Why a directory is not read with every call; empty if it may be."""
    with os.scandir(directory) as entries:
        size = sum(entry.stat().st_size for entry in entries if entry.is_file())
    if size <= LARGEST_WHEELHOUSE:
        return ""
    return f"it has {size / 1e9:.0f} GB of files; give --wheelhouse=DIR to use it"


def _named(name: str, settings: Settings) -> Iterator[tuple[list[str], str]]:
    """Yield the values of one kind in each place that may have them, and the place."""
    environ = settings.environ
    yield _words(settings.wheels.get(_OWN[name])), f"[wheels] in {settings.config}"
    for variable in _UV_VARIABLES[name]:
        values = environ.get(variable, "").replace(",", " ").split()
        # uv's variable may give each index a name: name=url.
        yield [_NAMED_INDEX.sub("", each) for each in values], variable
    variable = "PIP_" + _PIP[name].replace("-", "_").upper()
    yield environ.get(variable, "").split(), variable
    for path in _uv_files(environ, settings.home):
        yield _of_uv(name, _toml(path)), str(path)
    for path in reversed(pip_files(environ, settings.home)):
        yield _of_pip(name, path), str(path)


def _of_uv(name: str, document: Mapping[str, object]) -> list[str]:
    """The values of one kind in a uv.toml."""
    pip = document.get("pip")
    tables = [document, *([pip] if isinstance(pip, dict) else [])]
    values = [each for table in tables for each in _words(table.get(_PIP[name]))]
    indexes = document.get("index", [])
    for index in indexes if isinstance(indexes, list) and name != WHEELHOUSE else []:
        is_default = bool(index.get("default"))
        if is_default == (name == INDEX) and not index.get("explicit"):
            values.append(str(index.get("url", "")))
    return list(filter(None, values))


def _of_pip(name: str, path: Path) -> list[str]:
    """The values of one kind in a pip.conf; those of `install` win."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        log.debug("%s is left out: %s", path, exc)
        return []
    for section in ("install", "global"):
        if value := parser.get(section, _PIP[name], fallback="").split():
            return value
    return []


def _uv_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """The configuration files of uv; the first one that names something wins."""
    if named := environ.get("UV_CONFIG_FILE"):
        return [Path(named)]
    if environ.get("UV_NO_CONFIG"):
        return []
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [config / "uv/uv.toml", Path("/etc/uv/uv.toml")]


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        log.debug("%s is left out: %s", path, exc)
        return {}


def _words(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(each) for each in value]
    return [value] if isinstance(value, str) and value else []


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
