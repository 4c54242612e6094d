"""The session's secrets: where each comes from and how it is read.

Plaintext stays in this process's memory.

A secret that was set is identified by its name; one that is read (`env://`, `file://`, `cmd://`) by
a salted, slow hash of its plaintext: keys in the store do not reveal it, nor can it be guessed from
them without the salt.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from layerline import command, user_namespace
from layerline.engine.api.secret_providers import KNOWN, SCHEMES, SecretProviders
from layerline.engine.store.digest import digest_of
from layerline.errors import CommandFailed, HostError, LayerlineError, SecretError
from layerline.replacement import creating
from layerline.scrub import SecretMasks
from layerline.user_directories import expand_home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layerline.settings import Settings

MAX_BYTES = 512_000  # BuildKit's MaxSecretSize
_SHOWN_OF_A_NAME = 3
_SCRYPT = {"n": 2**12, "r": 8, "p": 1}


@dataclass(slots=True, kw_only=True, eq=False)
class SessionSecrets:
    """The readers of the session's secrets by their identities."""

    settings: Settings
    source: SecretSource
    masks: SecretMasks = field(default_factory=SecretMasks)
    _readers: dict[str, Callable[[], bytes]] = field(default_factory=dict)

    def set(self, name: str, plaintext: str, accessor: str) -> str:
        """Keep a plaintext; its identity depends on the name and who set it, not on the value."""
        identity = digest_of(["set", accessor, name])
        value = plaintext.encode()
        self.masks.add(value)
        self._readers[identity] = lambda: value
        return identity

    def refer(self, uri: str, cache_key: str | None) -> str:
        """The identity of a secret of the caller's machine by its URI.

        Raises SecretError for an unknown scheme; a value that cannot be read fails later.
        """
        reader = _reader(uri, self.source)
        identity = digest_of(["uri", cache_key]) if cache_key else self._fingerprint(reader)
        self._readers[identity] = reader
        return identity

    def refer_in_container(
        self, uri: str, cache_key: str | None, source: SecretSource, *, scope: str
    ) -> str:
        """The identity of a secret of a client's container, which is read now.

        Cache keys of different scopes are different: nobody replaces another's secret.
        """
        try:
            value = _reader(uri, source)()
        except (OSError, HostError) as exc:
            raise SecretError(str(exc)) from exc
        identity = (
            digest_of(["uri", scope, cache_key]) if cache_key else self._fingerprint(lambda: value)
        )
        self._readers[identity] = lambda: value
        return identity

    def plaintext(self, identity: str) -> bytes:
        """The value. Raises SecretError if it cannot be read."""
        reader = self._readers.get(identity)
        if reader is None:
            message = "the secret was set in another session: set it again in this one"
            raise SecretError(message)
        value = reader()
        if len(value) > MAX_BYTES:
            message = (
                f"the secret has {len(value)} bytes, the limit is {MAX_BYTES}: mount a file instead"
            )
            raise SecretError(message)
        self.masks.add(value)
        return value

    def _fingerprint(self, reader: Callable[[], bytes]) -> str:
        try:
            value = reader()
        except SecretError:
            return digest_of(["unreadable", secrets.token_hex(16)])
        self.masks.add(value)
        salt = salt_of(self.settings.store)
        return digest_of(["value", hashlib.scrypt(value, salt=salt, **_SCRYPT).hex()])


class SecretSource(Protocol):
    """Where secrets with a URI are read: the machine or the container of a client."""

    def variable(self, name: str) -> str | None:
        """An environment variable."""

    def contents(self, path: str) -> bytes:
        """A file. Raises OSError where it cannot be read."""

    def output(self, text: str) -> bytes:
        """What a shell command prints. Raises SecretError where it fails."""

    def provided(self, scheme: str, rest: str) -> bytes:
        """What another program keeps. Raises SecretError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSecrets:
    """The caller's machine as a source of secrets."""

    settings: Settings
    workdir: Path
    providers: SecretProviders = field(init=False)

    def __post_init__(self) -> None:
        """One set of providers for the session: they remember logins and values."""
        providers = SecretProviders(settings=self.settings, workdir=self.workdir)
        object.__setattr__(self, "providers", providers)

    def provided(self, scheme: str, rest: str) -> bytes:
        """A secret of 1Password, Vault and the like, read as the caller."""
        return self.providers.read(scheme, rest)

    def variable(self, name: str) -> str | None:
        """A variable of the caller."""
        return self.settings.environ.get(name)

    def contents(self, path: str) -> bytes:
        """A file of the host; relative ones are below the working directory."""
        try:
            file = self.workdir / expand_home(path, self.settings.home)
        except LayerlineError as exc:
            raise SecretError(str(exc)) from exc
        return file.read_bytes()

    def output(self, text: str) -> bytes:
        """What a shell command prints, run by the caller."""
        try:
            argv = user_namespace.as_caller(["sh", "-c", text])
            done = command.run(argv, env=self.settings.environ, cwd=self.workdir)
        except CommandFailed as exc:
            message = f"failed to run secret command: exit status {exc.status}"
            raise SecretError(message) from exc
        return done.stdout


def _reader(uri: str, source: SecretSource) -> Callable[[], bytes]:
    scheme, separator, rest = uri.partition("://")
    if not separator:
        message = f'parse "{uri}": malformed id: write scheme://value, e.g. env://{uri}'
        raise SecretError(message)
    match scheme:
        case "env":
            return lambda: _variable(source, rest)
        case "file":
            return lambda: _contents(source, rest)
        case "cmd":
            return lambda: source.output(rest)
        case _ if scheme in SCHEMES:
            return lambda: source.provided(scheme, rest)
        case _:
            message = f'unsupported secret provider: "{scheme}"; this engine reads {KNOWN}'
            raise SecretError(message)


def _variable(source: SecretSource, name: str) -> bytes:
    value = source.variable(name)
    if value is None:
        message = f'secret env var not found: "{name[:_SHOWN_OF_A_NAME]}..."'
        raise SecretError(message)
    return value.encode()


def _contents(source: SecretSource, path: str) -> bytes:
    try:
        return source.contents(path)
    except OSError as exc:
        file = exc.filename or path
        message = f"failed to read secret file {file}: {(exc.strerror or str(exc)).lower()}"
        raise SecretError(message) from exc


@functools.cache
def salt_of(store: Path) -> bytes:
    """The salt of this store, created once, readable by its owner alone."""
    path = store / "salt"
    if not path.exists():
        # Another session may be first: its salt counts.
        with contextlib.suppress(FileExistsError), creating(path) as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


def split_cache_key(uri: str) -> tuple[str, str | None]:
    """A URI without its `cacheKey=K`, and K."""
    plain, _, query = uri.partition("?")
    keys = parse_qs(query).get("cacheKey")
    if not keys:
        return uri, None
    rest = "&".join(part for part in query.split("&") if not part.startswith("cacheKey="))
    return f"{plain}?{rest}" if rest else plain, keys[0]
