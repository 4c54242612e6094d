"""The settings, read once at the edge from a mapping and frozen; inside, values are arguments."""

from __future__ import annotations

import contextlib
import os
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.compression import ZstdSettings
from layerline.errors import HostError, UsageError
from layerline.limits import Limits
from layerline.registry_cache import RegistryCache
from layerline.settings_table import check_names, read_table
from layerline.signing import Signing
from layerline.storage import Storage
from layerline.text_file import reason_of
from layerline.user_directories import home_directory, settings_file, store_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "all_proxy")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
BUNDLE_VARIABLE = "SSL_CERT_FILE"
# Of the settings file: a name with a typing mistake would be a setting that nobody has.
_NAMES = (
    *("store", "registries", "limits", "storage", "cache", "signing", "compression", "wheels"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user may set.

    `mirrors` maps a registry host (`docker.io`) to base URLs that are asked before it. `insecure`
    names registries that are spoken to without TLS, as those on a loopback address are.
    `wheels` is the table of that name: indexes and directories of wheels for the pipeline.
    `source_date_epoch` is in seconds: times of files in new layers above it are clamped to it.
    """

    store: Path
    home: Path
    config: Path
    runtime: str | None = None
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()
    ca_bundle: Path | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    source_date_epoch: int | None = None
    limits: Limits = field(default_factory=Limits)
    storage: Storage = field(default_factory=Storage)
    cache: RegistryCache = field(default_factory=RegistryCache)
    signing: Signing = field(default_factory=Signing)
    zstd: ZstdSettings = field(default_factory=ZstdSettings)
    wheels: Mapping[str, object] = field(default_factory=dict, repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def read_certificates(self) -> bytes | None:
        """The trusted certificates in PEM; raises HostError where they cannot be read."""
        try:
            return self.ca_bundle.read_bytes() if self.ca_bundle else None
        except OSError as exc:
            raise unusable_bundle(reason_of(exc), self.ca_bundle) from exc

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables and the settings file `$XDG_CONFIG_HOME/layerline/config.toml`."""
        config = settings_file(environ)
        document = _document(config)
        registries = _registries(document, config)
        epoch = environ.get("SOURCE_DATE_EPOCH")
        if epoch is not None and not epoch.isdigit():
            message = f"invalid SOURCE_DATE_EPOCH {epoch!r}: use a number of seconds"
            raise UsageError(message)
        return cls(
            store=store_directory(environ, str(document.get("store") or "")),
            home=home_directory(environ),
            config=config,
            runtime=environ.get("LAYERLINE_RUNTIME") or None,
            mirrors=_mirrors(environ, registries),
            insecure=_insecure(environ, registries),
            ca_bundle=_ca_bundle(environ),
            proxies={
                name: value
                for name, value in environ.items()
                if name.lower() in PROXY_VARIABLES and value
            },
            source_date_epoch=int(epoch) if epoch else None,
            limits=Limits.read(environ, document, config),
            storage=Storage.read(document, config),
            cache=RegistryCache.read(environ, document, config),
            signing=Signing.read(environ, document, config),
            zstd=ZstdSettings.read(document, config),
            wheels=_wheels(document, config),
            environ=dict(environ),
        )


def process_environ() -> Mapping[str, str]:
    """The environment of this process: the command line passes it to `Settings.from_environ`."""
    return os.environ


@contextlib.contextmanager
def override_environ(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _document(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        message = f"cannot read {path}: {reason_of(exc)}: fix it or move it away"
        raise UsageError(message) from exc
    check_names(document, _NAMES, path)
    if not isinstance(document.get("store", ""), str):
        message = f"invalid store {document['store']} in {path}: use the path of a directory"
        raise UsageError(message)
    return document


def _wheels(document: Mapping[str, object], config: Path) -> Mapping[str, object]:
    known = ("index", "extra-indexes", "wheelhouses")
    example = "e.g. [wheels] index = 'https://packages.example/simple'"
    return read_table(document, "wheels", known, config, example=example)


def _registries(document: Mapping[str, object], config: Path) -> dict[str, dict[str, object]]:
    """The table of each registry, whose mirrors are a list of URLs."""
    example = 'e.g. [registries."docker.io"] mirrors = ["https://mirror.example"]'
    hosts = document.get("registries", {})
    if not isinstance(hosts, dict):
        message = f"invalid registries in {config}: use a table for each, {example}"
        raise UsageError(message)
    tables = {}
    for host in hosts:
        keys = ("mirrors", "insecure")
        table = read_table(hosts, host, keys, config, example=example, within="registries.")
        if not isinstance(table.get("mirrors", []), list):
            message = f"invalid mirrors of {host} in {config}: use a list of URLs, {example}"
            raise UsageError(message)
        tables[host] = table
    return tables


def _mirrors(
    environ: Mapping[str, str], registries: Mapping[str, Mapping[str, object]]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for host, table in registries.items():
        mirrors = table.get("mirrors")
        if isinstance(mirrors, list):
            found[host] = tuple(str(url) for url in mirrors)
    for pair in filter(None, environ.get("LAYERLINE_REGISTRY_MIRRORS", "").split(",")):
        host, _, url = pair.partition("=")
        if not url:
            message = (
                f"invalid entry {pair!r} in LAYERLINE_REGISTRY_MIRRORS: "
                "use registry=URL, e.g. docker.io=http://127.0.0.1:5000"
            )
            raise UsageError(message)
        found[host] = (*found.get(host, ()), url)
    return found


def _insecure(
    environ: Mapping[str, str], registries: Mapping[str, Mapping[str, object]]
) -> frozenset[str]:
    named = {host for host, table in registries.items() if table.get("insecure") is True}
    return frozenset(
        named | set(filter(None, environ.get("LAYERLINE_INSECURE_REGISTRIES", "").split(",")))
    )


def _ca_bundle(environ: Mapping[str, str]) -> Path | None:
    named = environ.get(BUNDLE_VARIABLE)
    path = Path(named) if named else CA_BUNDLE
    return path if path.is_file() else None


def unusable_bundle(why: str, path: Path | None, variable: str = BUNDLE_VARIABLE) -> HostError:
    """The error of certificates that cannot be used; `variable` names them."""
    return HostError(
        f"cannot use the certificates in {path}: {why}: set {variable} to a file of PEM "
        "certificates, or unset it"
    )


def python() -> str:
    """The interpreter that runs this process."""
    return sys.executable
