"""The session's secrets: where each comes from and how it is read.

Plaintext stays in this process's memory.

A secret that was set is identified by its name; one that is read (`env://`, `file://`, `cmd://`) by
a salted, slow hash of its plaintext: keys in the store do not reveal it, nor can it be guessed from
them without the salt.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from layerline import command
from layerline.engine.store.digest import digest_of
from layerline.errors import CommandFailed, LayerlineError, SecretError
from layerline.user_directories import expand_home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layerline.settings import Settings

MAX_BYTES = 128_000
_SHOWN_OF_A_NAME = 3
_SCRYPT = {"n": 2**12, "r": 8, "p": 1}


@dataclass(slots=True, kw_only=True, eq=False)
class SessionSecrets:
    """The readers of the session's secrets by their identities."""

    settings: Settings
    workdir: Path
    _readers: dict[str, Callable[[], bytes]] = field(default_factory=dict)

    def set(self, name: str, plaintext: str, accessor: str) -> str:
        """Keep a plaintext; its identity depends on the name and who set it, not on the value."""
        identity = digest_of(["set", accessor, name])
        value = plaintext.encode()
        self._readers[identity] = lambda: value
        return identity

    def refer(self, uri: str, cache_key: str | None) -> str:
        """The identity of a secret by its URI.

        Raises SecretError for an unknown scheme; a value that cannot be read fails later.
        """
        reader = self._reader(uri)
        identity = digest_of(["uri", cache_key]) if cache_key else self._fingerprint(reader)
        self._readers[identity] = reader
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
        return value

    def _fingerprint(self, reader: Callable[[], bytes]) -> str:
        try:
            value = reader()
        except SecretError:
            return digest_of(["unreadable", secrets.token_hex(16)])
        salt = salt_of(self.settings.store)
        return digest_of(["value", hashlib.scrypt(value, salt=salt, **_SCRYPT).hex()])

    def _reader(self, uri: str) -> Callable[[], bytes]:
        scheme, separator, rest = uri.partition("://")
        if not separator:
            message = f'parse "{uri}": malformed id: write scheme://value, e.g. env://{uri}'
            raise SecretError(message)
        match scheme:
            case "env":
                return lambda: self._environment(rest)
            case "file":
                return lambda: self._file(rest)
            case "cmd":
                return lambda: self._output(rest)
            case _:
                known = "this engine reads env://, file:// and cmd://"
                message = f'unsupported secret provider: "{scheme}"; {known}'
                raise SecretError(message)

    def _environment(self, name: str) -> bytes:
        value = self.settings.environ.get(name)
        if value is None:
            message = f'secret env var not found: "{name[:_SHOWN_OF_A_NAME]}..."'
            raise SecretError(message)
        return value.encode()

    def _file(self, path: str) -> bytes:
        try:
            file = self.workdir / expand_home(path, self.settings.home)
        except LayerlineError as exc:
            raise SecretError(str(exc)) from exc
        try:
            return file.read_bytes()
        except OSError as exc:
            message = f"failed to read secret file {file}: {(exc.strerror or str(exc)).lower()}"
            raise SecretError(message) from exc

    def _output(self, text: str) -> bytes:
        try:
            done = command.run(["sh", "-c", text], env=self.settings.environ, cwd=self.workdir)
        except CommandFailed as exc:
            message = f"failed to run secret command: exit status {exc.status}"
            raise SecretError(message) from exc
        return done.stdout


def salt_of(store: Path) -> bytes:
    """The salt of this store, created once, readable by its owner alone."""
    path = store / "salt"
    if not path.exists():
        part = store / f"salt.{secrets.token_hex(8)}"
        part.touch(mode=0o600)
        part.write_bytes(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):  # another session was first: its salt counts
            path.hardlink_to(part)
        part.unlink()
    return path.read_bytes()


def split_cache_key(uri: str) -> tuple[str, str | None]:
    """A URI without its `?cacheKey=K`, and K."""
    plain, _, query = uri.partition("?")
    keys = parse_qs(query).get("cacheKey")
    return (plain, keys[0]) if keys else (uri, None)
