"""Logins for registries, from the session and from docker's config file.

A login belongs to one registry and is returned for that one only.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline import command, user_namespace
from layerline.engine.image.reference import DEFAULT_REGISTRY
from layerline.errors import CommandFailed, ProgramMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.settings import Settings

_DOCKER_HUB_KEYS = (f"https://index.{DEFAULT_REGISTRY}/v1/", f"index.{DEFAULT_REGISTRY}")
_TOKEN_USER = "<token>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user name and a secret."""

    username: str
    secret: str = field(repr=False)

    def basic(self) -> str:
        """The value of the Authorization header for basic authentication."""
        pair = f"{self.username}:{self.secret}".encode()
        return "Basic " + base64.b64encode(pair).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """`given` maps registries to logins and takes precedence over docker's config file."""

    given: Mapping[str, Login] = field(default_factory=dict)
    docker_config: Path | None = None

    @classmethod
    def of(cls, settings: Settings, given: Mapping[str, Login] | None = None) -> Credentials:
        """The logins of a session by address, before those of the user's docker config."""
        folder = settings.environ.get("DOCKER_CONFIG") or str(settings.home / ".docker")
        by_registry = {registry_of(address): login for address, login in (given or {}).items()}
        return cls(given=by_registry, docker_config=Path(folder) / "config.json")

    def for_registry(self, registry: str) -> Login | None:
        """The login for exactly this registry."""
        return self.given.get(registry) or self._from_docker(registry)

    def _from_docker(self, registry: str) -> Login | None:
        document = self._document()
        names = [registry, f"https://{registry}", f"http://{registry}"]
        if registry == DEFAULT_REGISTRY:
            names = [*_DOCKER_HUB_KEYS, *names]
        helpers = _object(document, "credHelpers")
        helper = next((helpers[name] for name in names if name in helpers), None)
        if isinstance(helper, str) or isinstance(helper := document.get("credsStore"), str):
            return next(filter(None, (_ask(helper, name) for name in names)), None)
        known = _object(document, "auths")
        for key, entry in known.items():
            if (key in names or registry_of(key) == registry) and isinstance(entry, dict):
                return _parse_auth(entry)
        return None

    def _document(self) -> Mapping[str, Any]:
        if self.docker_config is None:
            return {}
        try:
            document = json.loads(self.docker_config.read_bytes())
        except (OSError, ValueError):
            # Docker itself goes on without logins when the file is missing or unreadable.
            return {}
        return document if isinstance(document, dict) else {}


def registry_of(address: str) -> str:
    """The registry of an address such as `https://example.com/v2/` or `example.com/me/app`."""
    host = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
    names_host = "." in host or ":" in host or host == "localhost"
    return host if names_host and host != f"index.{DEFAULT_REGISTRY}" else DEFAULT_REGISTRY


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _parse_auth(entry: Mapping[str, Any]) -> Login | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Login(username=_TOKEN_USER, secret=token)
    try:
        pair = base64.b64decode(str(entry.get("auth", "")), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    username, colon, secret = pair.partition(":")
    return Login(username=username, secret=secret.rstrip("\0")) if colon else None


def _ask(helper: str, name: str) -> Login | None:
    try:
        argv = user_namespace.as_caller([f"docker-credential-{helper}", "get"])
        done = command.run(argv, stdin=name.encode(), timeout=30)
        answer = json.loads(done.stdout)
    except (CommandFailed, ProgramMissing, ValueError):
        # "Not found" is a failure of the helper; so is a helper that is not installed here.
        return None
    username, secret = answer.get("Username"), answer.get("Secret")
    return Login(username=username, secret=secret) if username and secret else None
