"""What is attached to a published image, by a program in a container: the API has no referrers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagger
from dagger import dag

from layerline.pipeline.environment import Environment, program
from layerline.pipeline.spans import span

_PROGRAMS = Path(__file__).parent / "programs" / "attachment"
_PLACE = "/mnt/attach"
_PACKAGE = "layerline/pipeline/programs/attachment"
_MAIN = f"{_PACKAGE.replace('/', '.')}.main"
_REQUEST = f"{_PLACE}/request.json"
_SECRETS = "/mnt/secrets"
_CERTIFICATES = "/mnt/certificates.crt"
# In addition to the base's own: TLS to the registry, and signatures.
TOOLS = ("ca-certificates", "openssl")
# The public services of sigstore.
FULCIO, REKOR = "https://fulcio.sigstore.dev", "https://rekor.sigstore.dev"
CYCLONEDX = "application/vnd.cyclonedx+json"
SPDX = "application/spdx+json"
LOCK = "application/vnd.layerline.lock.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signs: a private key in PEM, or the identity of a token, or nobody."""

    key: dagger.Secret | None = None
    token: dagger.Secret | None = None
    fulcio: str = ""
    rekor: str = ""

    @property
    def secrets(self) -> dict[str, dagger.Secret | None]:
        """What the program is given, by the name of the file."""
        return {"key": self.key, "token": self.token}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachments:
    """Statements by the type of their predicate, and documents by media type and title."""

    statements: Sequence[tuple[str, dict[str, Any]]]
    documents: Sequence[tuple[str, str, str]]

    def request(self) -> str:
        """The input of the program."""
        return json.dumps(
            {
                "statements": [
                    {"predicateType": kind, "predicate": predicate}
                    for kind, predicate in self.statements
                ],
                "documents": [
                    {"artifactType": kind, "title": title, "text": text}
                    for kind, title, text in self.documents
                ],
            }
        )


async def attach(
    environment: Environment,
    published: str,
    attachments: Attachments,
    *,
    login: dagger.Secret | None,
    signer: Signer,
    certificates: dagger.File | None = None,
) -> list[dict[str, Any]]:
    """Attach to the image at `published`, an address with a digest; what was attached.

    `certificates` are trusted instead of the base's own.
    """
    address, _, digest = published.rpartition("@")
    programs = dag.directory().with_new_file("request.json", attachments.request())
    for path in sorted(_PROGRAMS.glob("*.py")):
        programs = programs.with_new_file(f"{_PACKAGE}/{path.name}", path.read_text())
    with span(f"attach to {address}", part="attachments", target=environment.target):
        container = await _with_tools(environment)
        container = container.with_mounted_directory(_PLACE, programs).with_workdir(_PLACE)
        if certificates is not None:
            container = container.with_mounted_file(_CERTIFICATES, certificates)
            container = container.with_env_variable("SSL_CERT_FILE", _CERTIFICATES)
        for name, secret in {"login": login, **signer.secrets}.items():
            if secret is not None:
                container = container.with_mounted_secret(f"{_SECRETS}/{name}", secret)
        argv = ["python3", "-m", _MAIN, address, digest, _REQUEST, _SECRETS]
        argv += [signer.fulcio, signer.rekor]
        return [
            json.loads(line) for line in (await container.with_exec(argv).stdout()).splitlines()
        ]


async def _with_tools(environment: Environment) -> dagger.Container:
    """The base with what attaching needs."""
    mounts = await environment.supplies.of("system")
    system = await environment.system()
    return (
        system.with_(mounts.add)
        .with_exec(["sh", "-s", "--", *TOOLS], stdin=program("signing_tools.sh"))
        .with_(mounts.remove)
    )
