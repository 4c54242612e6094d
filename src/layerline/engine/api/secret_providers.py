"""Secrets that another program of the caller's machine keeps, by their URIs.

The forms and their meaning are those of Dagger v0.21.8 (engine/client/secretprovider). It has the
providers' libraries in it; here their own command lines are asked, run as the caller.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from layerline import command, user_namespace
from layerline.engine.api import secret_service
from layerline.engine.api.durations import nanoseconds
from layerline.engine.api.vault import Vault
from layerline.errors import CommandFailed, QueryError, SecretError
from layerline.settings import python

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.settings import Settings

_SECONDS = 120.0
_PROJECTS = ("GCP_PROJECT_ID", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT")
_AWS_ERROR = re.compile(r"An error occurred \((\w+)\)")
_INSTALL = {
    "op": "the command line of 1Password (developer.1password.com/docs/cli)",
    "aws": "the command line of AWS, version 2 (aws.amazon.com/cli)",
    "gcloud": "the Google Cloud CLI (cloud.google.com/sdk)",
}


@dataclass(slots=True, kw_only=True, eq=False)
class SecretProviders:
    """The providers of one session, which remember values as Dagger's client does."""

    settings: Settings
    workdir: Path
    _kept: dict[str, tuple[bytes, float | None]] = field(default_factory=dict, repr=False)
    _vault: Vault = field(init=False)

    def __post_init__(self) -> None:
        self._vault = Vault(settings=self.settings)

    def read(self, scheme: str, rest: str) -> bytes:
        """The value at `scheme://rest`, of one of `SCHEMES`. Raises SecretError."""
        path, _, query = rest.partition("?")
        path, options = unquote(path), {k: v[0] for k, v in parse_qs(query).items()}
        match scheme:
            case "op":
                return self._run(["op", "read", "-n", f"op://{rest}"]).stdout
            case "vault":
                return self._remember(f"vault {path}", options, lambda: self._vault.read(path))
            case "gcp":
                return self._remember(f"gcp {path}", options, lambda: self._google(path))
            case "aws+sm":
                return self._remember(rest, {}, lambda: self._aws_secret(path, options))
            case "aws+ps":
                return self._remember(rest, {}, lambda: self._aws_parameter(path, options))
            case _:
                return self._keyring(path, options)

    def _remember(self, key: str, options: dict[str, str], read: Callable[[], bytes]) -> bytes:
        """The value, read again once it is older than the option `ttl`."""
        text = options.get("ttl", "").strip()
        try:
            ttl = nanoseconds(text) / 1e9 if text else 0.0
        except QueryError as exc:
            message = f'invalid ttl "{text}" provided for secret "{key}": {exc}'
            raise SecretError(message) from exc
        value, until = self._kept.get(key, (None, 0.0))
        if value is None or (until is not None and until <= time.monotonic()):
            value = read()
            self._kept[key] = (value, time.monotonic() + ttl if ttl > 0 else None)
        return value

    def _aws_secret(self, name: str, options: dict[str, str]) -> bytes:
        version, stage, member = (options.get(k, "") for k in ("version", "stage", "field"))
        if version and stage:
            message = "cannot specify both version and stage parameters"
            raise SecretError(message)
        which = f"--version-id={version}" if version else f"--version-stage={stage or 'AWSCURRENT'}"
        argv = ["secretsmanager", "get-secret-value", f"--secret-id={name}", which]
        answer = self._aws(argv, name, "secret", options)
        if answer.get("SecretString") is not None:
            value = str(answer["SecretString"]).encode()
        elif answer.get("SecretBinary"):
            value = base64.b64decode(answer["SecretBinary"])
        else:
            message = f'secret "{name}" has no string or binary value'
            raise SecretError(message)
        return _member(value, member, name) if member else value

    def _aws_parameter(self, path: str, options: dict[str, str]) -> bytes:
        name = f"/{path}"
        argv = ["ssm", "get-parameter", f"--name={name}", "--with-decryption"]
        value = (self._aws(argv, name, "parameter", options).get("Parameter") or {}).get("Value")
        if value is None:
            message = f'parameter "{name}" has no value'
            raise SecretError(message)
        return str(value).encode()

    def _aws(self, argv: list[str], name: str, kind: str, options: dict[str, str]) -> Any:
        region = options.get("region") or self.settings.environ.get("AWS_REGION")
        if not region:
            message = "AWS_REGION environment variable not set and no region parameter provided"
            raise SecretError(message)
        try:
            done = self._run(
                ["aws", *argv, f"--region={region}", "--output=json", "--no-cli-pager"]
            )
            return json.loads(done.stdout)
        except _ProviderFailed as exc:
            raise SecretError(_aws_failure(exc.reason, name, kind)) from exc

    def _google(self, path: str) -> bytes:
        project, name, version = self._google_resource(path)
        # gcloud has credentials of its own; the variable is the libraries'.
        file = self.settings.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        more = {"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": file} if file else {}
        argv = ["gcloud", "secrets", "versions", "access", version]
        where = [f"--secret={name}", f"--project={project}", "--format=json", "--quiet"]
        document = json.loads(self._run([*argv, *where], **more).stdout)
        data = str(document["payload"]["data"])
        return base64.b64decode(data.replace("-", "+").replace("_", "/") + "==")

    def _google_resource(self, path: str) -> tuple[str, str, str]:
        """Project, secret and version of a resource's name, or of a name in the own project."""
        found = re.fullmatch(r"projects/([^/]+)/secrets/([^/]+)(?:/versions/([^-/][^/]*))?", path)
        if found is None and path.startswith("projects/"):
            message = f"invalid GCP secret path format: {path}"
            raise SecretError(message)
        if found is not None:
            return found[1], found[2], found[3] or "latest"
        variables = self.settings.environ
        project = next((variables[name] for name in _PROJECTS if variables.get(name)), "")
        if not project:
            message = f"GCP project ID not set. Set {', '.join(_PROJECTS[:2])}, or {_PROJECTS[2]}"
            raise SecretError(message)
        found = re.fullmatch(r"([^-/][^/]*)(?:/versions/([^-/][^/]*))?", path)
        if found is None:
            message = f"invalid GCP secret path format: {path}"
            raise SecretError(message)
        return project, found[1], found[2] or "latest"

    def _keyring(self, path: str, options: dict[str, str]) -> bytes:
        collection, _, item = path.partition("/")
        program = [python(), secret_service.__file__, collection, item, json.dumps(options)]
        return self._run(program).stdout

    def _run(self, argv: list[str], **more: str) -> command.Finished:
        environ = self.settings.environ
        program = command.find(argv[0], path=environ.get("PATH") or command.DEFAULT_PATH)
        if program is None:
            message = f"{argv[0]} is not installed: install {_INSTALL[argv[0]]}"
            raise SecretError(message)
        try:
            return command.run(
                user_namespace.as_caller([program, *argv[1:]]),
                env={**environ, **more},
                cwd=self.workdir,
                timeout=_SECONDS,
            )
        except CommandFailed as exc:
            raise _ProviderFailed(Path(argv[0]).name, exc.stderr.strip()) from exc


KNOWN = "env://, file://, cmd://, op://, vault://, aws+sm://, aws+ps://, gcp:// and libsecret://"
SCHEMES = frozenset({"op", "vault", "aws+sm", "aws+ps", "gcp", "libsecret"})


class _ProviderFailed(SecretError):
    """A provider's program failed; `reason` is what it wrote."""

    def __init__(self, program: str, reason: str) -> None:
        shown = "the keyring" if program.startswith("python") else program
        super().__init__(f"{shown} cannot read the secret: {reason or 'it gives no reason'}")
        self.reason = reason


def _aws_failure(reason: str, name: str, kind: str) -> str:
    code = _AWS_ERROR.search(reason)
    match code[1] if code else "":
        case "ResourceNotFoundException":
            return f'secret not found: "{name}"'
        case "ParameterNotFound":
            return f'parameter not found: "{name}"'
        case "AccessDeniedException":
            return f'access denied to {kind} "{name}": check IAM permissions'
        case "DecryptionFailure":
            return f'failed to decrypt {kind} "{name}": check KMS permissions'
        case _:
            return f'failed to retrieve {kind} "{name}": {reason}'


def _member(value: bytes, member: str, name: str) -> bytes:
    """A member of a JSON object: a text as it is, anything else as JSON."""
    where = f'failed to extract field "{member}" from secret "{name}"'
    try:
        document = json.loads(value)
    except ValueError as exc:
        message = f"{where}: secret value is not valid JSON"
        raise SecretError(message) from exc
    if not isinstance(document, dict) or member not in document:
        message = f'{where}: field "{member}" not found in JSON secret'
        raise SecretError(message)
    found = document[member]
    if found is None:
        return b""
    if isinstance(found, str):
        return found.encode()
    return json.dumps(found, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
