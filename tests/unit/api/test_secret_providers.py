"""Secrets of providers, by stand-ins for their programs and servers: no real one was asked.

URIs, meaning and texts are those of Dagger v0.21.8 (engine/client/secretprovider/*.go).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.api.container_host import ContainerSecrets
from layerline.engine.api.secret_providers import SecretProviders
from layerline.engine.api.secrets import HostSecrets, SessionSecrets, split_cache_key
from layerline.errors import SecretError
from layerline.settings import Settings
from tests.http_server import running
from tests.unit.conftest import RootedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = {"AWS_REGION": "eu-west-1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A caller's machine with stand-ins for programs, which note how they were called."""

    place: Path

    def program(self, name: str, *, prints: str = "", fails: str = "") -> None:
        """Install a program that prints a text, or fails with one."""
        path = self.place / "bin" / name
        path.parent.mkdir(exist_ok=True)
        said = self.place / f"{name}.out"
        said.write_text(prints or fails)
        end = f"cat {said} >&2; exit 1" if fails else f"cat {said}"
        note = f'printf "%s\\n" "$@" >> {self.place}/{name}.argv'
        marked = f'echo "$NOTED" >> {self.place}/noted'
        path.write_text(f"#!/bin/sh\n{note}\n{marked}\n{end}\n")
        path.chmod(0o755)

    def argv(self, name: str) -> list[str]:
        """The arguments of all calls."""
        return (self.place / f"{name}.argv").read_text().splitlines()

    def providers(self, **environ: str) -> SecretProviders:
        """The providers in an environment."""
        path = f"{self.place}/bin:{command.DEFAULT_PATH}"
        own = {"HOME": str(self.place), "PATH": path, "NOTED": "by the caller"}
        settings = Settings.from_environ({**own, **environ})
        return SecretProviders(settings=settings, workdir=self.place)

    def read(self, uri: str, **environ: str) -> bytes:
        """The value of a secret."""
        scheme, _, rest = uri.partition("://")
        return self.providers(**environ).read(scheme, rest)

    def error(self, uri: str, **environ: str) -> str:
        """Why there is no value."""
        with pytest.raises(SecretError) as failed:
            self.read(uri, **environ)
        return str(failed.value)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(place=tmp_path)


def test_1password(desk: Desk) -> None:
    desk.program("op", prints="hush")
    assert desk.read("op://vault/item/field") == b"hush"
    assert desk.argv("op") == ["read", "-n", "op://vault/item/field"]
    assert (desk.place / "noted").read_text() == "by the caller\n"


def test_a_program_that_fails(desk: Desk) -> None:
    desk.program("op", fails="[ERROR] not signed in")
    assert desk.error("op://v/i/f") == "op cannot read the secret: [ERROR] not signed in"


@pytest.mark.parametrize(
    ("uri", "program"), [("op://a/b/c", "op"), ("aws+sm://a", "aws"), ("gcp://a", "gcloud")]
)
def test_a_program_that_is_missing(desk: Desk, uri: str, program: str) -> None:
    message = desk.error(uri, PATH=str(desk.place), GCP_PROJECT_ID="p", **REGION)
    assert message.startswith(f"{program} is not installed: install the ")


def test_secrets_of_aws(desk: Desk) -> None:
    desk.program("aws", prints=json.dumps({"SecretString": '{"user":"a","port":1,"none":null}'}))
    assert desk.read("aws+sm://team/db", **REGION) == b'{"user":"a","port":1,"none":null}'
    assert desk.argv("aws") == [
        *("secretsmanager", "get-secret-value", "--secret-id=team/db"),
        *("--version-stage=AWSCURRENT", "--region=eu-west-1", "--output=json", "--no-cli-pager"),
    ]
    assert desk.read("aws+sm://team/db?field=user", **REGION) == b"a"
    assert desk.read("aws+sm://team/db?field=port&version=7&region=x") == b"1"
    assert desk.read("aws+sm://team/db?field=none", **REGION) == b""
    assert desk.argv("aws")[-4:-2] == ["--version-stage=AWSCURRENT", "--region=eu-west-1"]
    assert {"--version-id=7", "--region=x"} <= set(desk.argv("aws"))


def test_a_binary_secret_of_aws(desk: Desk) -> None:
    data = base64.b64encode(b"\0\xff").decode()
    desk.program("aws", prints=json.dumps({"SecretBinary": data}))
    assert desk.read("aws+sm://b", **REGION) == b"\0\xff"


def test_parameters_of_aws(desk: Desk) -> None:
    desk.program("aws", prints=json.dumps({"Parameter": {"Value": "hush"}}))
    providers = desk.providers(**REGION)
    assert [providers.read("aws+ps", "app/key") for _ in range(2)] == [b"hush", b"hush"]
    assert desk.argv("aws")[:4] == ["ssm", "get-parameter", "--name=/app/key", "--with-decryption"]
    assert desk.argv("aws").count("ssm") == 1


@pytest.mark.parametrize(
    ("uri", "said", "message"),
    [
        ("aws+sm://a", "ResourceNotFoundException", 'secret not found: "a"'),
        ("aws+ps://a", "ParameterNotFound", 'parameter not found: "/a"'),
        (
            "aws+sm://a",
            "AccessDeniedException",
            'access denied to secret "a": check IAM permissions',
        ),
        (
            "aws+ps://a",
            "DecryptionFailure",
            'failed to decrypt parameter "/a": check KMS permissions',
        ),
    ],
)
def test_errors_of_aws(desk: Desk, uri: str, said: str, message: str) -> None:
    desk.program("aws", fails=f"An error occurred ({said}) when calling the X operation: no")
    assert desk.error(uri, **REGION) == message


def test_what_is_missing_for_aws(desk: Desk) -> None:
    message = "AWS_REGION environment variable not set and no region parameter provided"
    assert desk.error("aws+sm://a") == message
    both = desk.error("aws+sm://a?version=1&stage=b", **REGION)
    assert both == "cannot specify both version and stage parameters"


@pytest.mark.parametrize(
    ("uri", "resource"),
    [
        ("gcp://name", ("latest", "name", "own")),
        ("gcp://name/versions/3", ("3", "name", "own")),
        ("gcp://projects/p/secrets/name", ("latest", "name", "p")),
        ("gcp://projects/p/secrets/name/versions/2", ("2", "name", "p")),
    ],
)
def test_secrets_of_google(desk: Desk, uri: str, resource: tuple[str, str, str]) -> None:
    data = base64.urlsafe_b64encode(b"hush\xff\xfe").decode()
    desk.program("gcloud", prints=json.dumps({"payload": {"data": data}}))
    assert desk.read(uri, GOOGLE_CLOUD_PROJECT="own") == b"hush\xff\xfe"
    version, name, project = resource
    assert desk.argv("gcloud") == [
        *("secrets", "versions", "access", version, f"--secret={name}", f"--project={project}"),
        *("--format=json", "--quiet"),
    ]


def test_names_that_google_does_not_have(desk: Desk) -> None:
    wrong = "invalid GCP secret path format: "
    assert desk.error("gcp://projects/p/x/y") == f"{wrong}projects/p/x/y"
    assert desk.error("gcp://a/b", GCP_PROJECT_ID="p") == f"{wrong}a/b"
    assert desk.error("gcp://a").startswith("GCP project ID not set. Set GCP_PROJECT_ID")


KEYRING = """
class exceptions:
    class SecretStorageException(Exception): pass
class Item:
    def __init__(self, path, label, attributes, value):
        self.item_path, self.label, self.attributes, self.value = path, label, attributes, value
    def is_locked(self): return False
    def get_label(self): return self.label
    def get_attributes(self): return self.attributes
    def get_secret(self): return self.value
class Collection:
    collection_path = "/org/freedesktop/secrets/collection/login"
    def unlock(self): return False
    def get_all_items(self):
        yield Item("/x/login/1", "Key", {"a": "1", "b": "2"}, b"first")
        yield Item("/x/login/2", "Other", {"a": "1"}, b"second")
        yield Item("/x/login/3", "Other", {"a": "3"}, b"third")
def dbus_init(): return None
def get_all_collections(connection): return [Collection()]
"""


def test_the_keyring(desk: Desk) -> None:
    (desk.place / "secretstorage.py").write_text(KEYRING)
    own = {"PYTHONPATH": str(desk.place)}
    assert desk.read("libsecret://login/1", **own) == b"first"
    assert desk.read("libsecret://login/Key", **own) == b"first"
    assert desk.read("libsecret://login/Other?a=3", **own) == b"third"
    assert desk.read("libsecret://login?b=2", **own) == b"first"
    failed = "the keyring cannot read the secret: "
    assert desk.error("libsecret://login/Other", **own) == (
        f"{failed}too many items found for login/Other"
    )
    assert desk.error("libsecret://login/None", **own) == f"{failed}item login/None not found"
    assert desk.error("libsecret://login", **own) == f"{failed}item login must be filtered"
    assert desk.error("libsecret://none/Key", **own) == f"{failed}collection none not found"


def test_no_library_for_the_keyring(desk: Desk) -> None:
    assert "secretstorage is not installed: install it" in desk.error("libsecret://login/1")


@pytest.fixture
def vault() -> Iterator[tuple[str, list[str]]]:
    """A server that answers as Vault's KV engine, version 2; its address, and its requests."""
    requests: list[str] = []
    document = {"data": {"data": {"key": "hush", "number": 1}, "metadata": {"version": 1}}}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def answer(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(f"POST {self.path} {body['role_id']} {body['secret_id']}")
            self.answer(200, {"auth": {"client_token": "from-role"}})

        def do_GET(self) -> None:
            token = self.headers.get("X-Vault-Token")
            requests.append(f"GET {self.path} {token} {self.headers.get('X-Vault-Namespace')}")
            if token not in ("root", "from-role"):
                self.answer(403, {"errors": ["permission denied"]})
            elif "missing" in self.path:
                self.answer(404, {"errors": []})
            else:
                self.answer(200, document)

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", requests


def test_vault(desk: Desk, vault: tuple[str, list[str]]) -> None:
    address, requests = vault
    own = {"VAULT_ADDR": address, "VAULT_TOKEN": "root"}
    providers = desk.providers(**own, VAULT_NAMESPACE="team")
    assert [providers.read("vault", "path/to.key") for _ in range(2)] == [b"hush", b"hush"]
    assert providers.read("vault", "short.key?ttl=1ns") == b"hush"
    assert providers.read("vault", "short.key?ttl=1ns") == b"hush"
    assert requests == [
        "GET /v1/secret/data/path/to root team",
        *["GET /v1/secret/data/short root team"] * 2,
    ]
    assert desk.read("vault://a.key", VAULT_PATH_PREFIX="kv", **own) == b"hush"
    assert requests[-1] == "GET /v1/kv/data/a root None"


def test_a_role_of_vault(desk: Desk, vault: tuple[str, list[str]]) -> None:
    address, requests = vault
    role = {"VAULT_APPROLE_ROLE_ID": "r", "VAULT_APPROLE_SECRET_ID": "s"}
    assert desk.read("vault://a.key", VAULT_ADDR=address, VAULT_TOKEN="x", **role) == b"hush"
    assert requests == [
        "POST /v1/auth/approle/login r s",
        "GET /v1/secret/data/a from-role None",
    ]


def test_what_vault_does_not_give(desk: Desk, vault: tuple[str, list[str]]) -> None:
    address, _ = vault
    own = {"VAULT_ADDR": address, "VAULT_TOKEN": "root"}
    assert desk.error("vault://a", **own) == "invalid key format: a"
    assert desk.error("vault://a.b.c", **own) == "invalid key format: a.b.c"
    assert desk.error("vault://missing/a.key", **own) == (
        'path "missing/a": secret not found: at secret/data/missing/a'
    )
    assert desk.error("vault://a.none", **own) == 'secret "none" not found in path "a"'
    assert desk.error("vault://a.number", **own) == 'secret "number" in path "a" is not a string'
    denied = desk.error("vault://a.key", VAULT_ADDR=address, VAULT_TOKEN="wrong")
    assert denied.endswith("answers 403 to v1/secret/data/a: permission denied")
    assert "set VAULT_TOKEN" in desk.error("vault://a.key", VAULT_ADDR=address)
    assert 'invalid ttl "x"' in desk.error("vault://a.key?ttl=x", **own)
    assert "VAULT_CAPATH cannot be used" in desk.error("vault://a.key", VAULT_CAPATH="/x", **own)
    gone = desk.error("vault://a.key", VAULT_ADDR="http://127.0.0.1:9", VAULT_TOKEN="root")
    assert "does not answer" in gone


def test_a_session_reads_them_and_masks_them(desk: Desk) -> None:
    desk.program("op", prints="topsecret")
    settings = Settings.from_environ(
        {"HOME": str(desk.place), "PATH": f"{desk.place}/bin:{command.DEFAULT_PATH}"}
    )
    settings.store.mkdir(parents=True)
    source = HostSecrets(settings=settings, workdir=desk.place)
    secrets = SessionSecrets(settings=settings, source=source)
    identity = secrets.refer("op://a/b/c", None)
    assert secrets.plaintext(identity) == b"topsecret"
    assert secrets.masks.mask("it is topsecret") == "it is ***"
    with pytest.raises(SecretError, match=r'unsupported secret provider: "x"; .* libsecret://'):
        secrets.refer("x://a", None)


def test_a_container_reads_none(tmp_path: Path) -> None:
    source = ContainerSecrets(RootedProcess.at(tmp_path))
    with pytest.raises(SecretError, match=r"only the main client can read op:// secrets"):
        source.provided("op", "a/b/c")


def test_a_cache_key_leaves_other_options() -> None:
    assert split_cache_key("vault://a.b?ttl=1h&cacheKey=k") == ("vault://a.b?ttl=1h", "k")
    assert split_cache_key("env://A?cacheKey=k") == ("env://A", "k")
    assert split_cache_key("op://a/b?x=y") == ("op://a/b?x=y", None)
