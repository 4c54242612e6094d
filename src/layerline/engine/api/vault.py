"""Secrets of HashiCorp Vault: `vault://PATH.FIELD`, as Dagger v0.21.8 reads them.

See engine/client/secretprovider/vault.go there; the variables are those of Vault's Go client
(api/client.go), the requests those of its KV engine, version 2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from layerline.engine.image.registry.connections import http_client
from layerline.errors import HostError, SecretError
from layerline.settings import BUNDLE_VARIABLE

if TYPE_CHECKING:
    from layerline.settings import Settings

_ADDRESS = "https://127.0.0.1:8200"
_SECONDS = 60.0
_MOST_BYTES = 8 << 20
_FALSE = frozenset({"", "0", "f", "false"})
_UNUSED = (
    *("VAULT_AGENT_ADDR", "VAULT_CAPATH", "VAULT_CACERT_BYTES", "VAULT_CLIENT_CERT"),
    *("VAULT_CLIENT_KEY", "VAULT_PROXY_ADDR", "VAULT_TLS_SERVER_NAME", "VAULT_WRAP_TTL"),
)


@dataclass(slots=True, kw_only=True, eq=False)
class Vault:
    """The server that the caller's environment names; it is logged in to once."""

    settings: Settings
    _token: str = field(default="", repr=False)

    def read(self, key: str) -> bytes:
        """The field of a secret by `PATH.FIELD`. Raises SecretError."""
        path, dot, name = key.partition(".")
        if not dot or "." in name:
            message = f"invalid key format: {key}"
            raise SecretError(message)
        mount = self._variable("VAULT_PATH_PREFIX") or "secret"
        url = f"v1/{quote(mount)}/data/{quote(path)}"
        with self._client() as client:
            self._log_in(client)
            status, body = self._request(client, "GET", url)
        data = (body.get("data") or {}).get("data")
        if status == httpx.codes.NOT_FOUND or data is None:
            message = f'path "{path}": secret not found: at {mount}/data/{path}'
            raise SecretError(message)
        if data.get(name) is None:
            message = f'secret "{name}" not found in path "{path}"'
            raise SecretError(message)
        if not isinstance(data[name], str):
            message = f'secret "{name}" in path "{path}" is not a string'
            raise SecretError(message)
        return str(data[name]).encode()

    def _log_in(self, client: httpx.Client) -> None:
        role = self._variable("VAULT_APPROLE_ROLE_ID")
        if self._token:
            return
        if not role:
            self._token = self._variable("VAULT_TOKEN")
            if not self._token:
                message = (
                    "no login for Vault: set VAULT_TOKEN, or VAULT_APPROLE_ROLE_ID and "
                    "VAULT_APPROLE_SECRET_ID. To log in with a browser: "
                    "export VAULT_TOKEN=$(vault login -method=oidc -token-only)"
                )
                raise SecretError(message)
            return
        mount = self._variable("VAULT_APPROLE_MOUNT_PATH") or "approle"
        login = {"role_id": role, "secret_id": self._variable("VAULT_APPROLE_SECRET_ID")}
        _, body = self._request(client, "POST", f"v1/auth/{quote(mount)}/login", login)
        self._token = str((body.get("auth") or {}).get("client_token") or "")
        if not self._token:
            message = "no auth info was returned after Vault AppRole login"
            raise SecretError(message)

    def _request(
        self, client: httpx.Client, method: str, url: str, document: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = {"X-Vault-Request": "true"}
        if self._token:
            headers["X-Vault-Token"] = self._token
        if namespace := self._variable("VAULT_NAMESPACE"):
            headers["X-Vault-Namespace"] = namespace
        address = self._variable("VAULT_ADDR") or _ADDRESS
        try:
            with client.stream(
                method,
                f"{address.rstrip('/')}/{url}",
                json=document,
                headers=headers,
                timeout=_SECONDS,
            ) as answer:
                body = _document(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            message = f"Vault at {address} does not answer: {exc}: check VAULT_ADDR"
            raise SecretError(message) from exc
        if answer.is_success or answer.status_code == httpx.codes.NOT_FOUND:
            return answer.status_code, body
        reasons = ", ".join(map(str, body.get("errors") or ()))
        message = f"Vault at {address} answers {answer.status_code} to {url}: {reasons or 'denied'}"
        raise SecretError(message)

    def _client(self) -> httpx.Client:
        unused = [name for name in _UNUSED if self._variable(name)]
        if unused:
            message = f"{', '.join(unused)} cannot be used: name a file in VAULT_CACERT instead"
            raise SecretError(message)
        bundle = self._variable("VAULT_CACERT")
        if self._variable("VAULT_SKIP_VERIFY").lower() not in _FALSE:
            return httpx.Client(verify=False, trust_env=False)
        settings = replace(self.settings, ca_bundle=Path(bundle)) if bundle else self.settings
        try:
            variable = "VAULT_CACERT" if bundle else BUNDLE_VARIABLE
            return http_client(settings, variable=variable)
        except HostError as exc:
            raise SecretError(str(exc)) from exc

    def _variable(self, name: str) -> str:
        return self.settings.environ.get(name, "")


def _document(answer: httpx.Response) -> dict[str, Any]:
    pieces: list[bytes] = []
    for piece in answer.iter_bytes():
        pieces.append(piece)
        if sum(map(len, pieces)) > _MOST_BYTES:
            message = f"{answer.url} answers with more than {_MOST_BYTES} bytes"
            raise SecretError(message)
    try:
        document = json.loads(b"".join(pieces))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
