"""Publishes an image with what is said of it: provenance, bills of materials, results of probes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagger

from layerline.pipeline import lock, provenance, sbom, spdx
from layerline.pipeline.attachments import CYCLONEDX, LOCK, SPDX, Attachments, Signer, attach
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.environment import PYTHON, program
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.image import Assembly
from layerline.pipeline.probe import EVIDENCE_LABEL
from layerline.pipeline.project import Project
from layerline.pipeline.redaction import Redaction, secret_values
from layerline.pipeline.spans import span

_LICENCES = "/tmp/licences.json"
_COMPRESSIONS = {
    "zstd": dagger.ImageLayerCompression.Zstd,
    "gzip": dagger.ImageLayerCompression.Gzip,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One image of a project, and what is attached to it.

    `login` is USER:PASSWORD, or the text of docker's config.json.
    """

    project: Project
    image: str
    compression: str = "zstd"
    login: dagger.Secret | None = None
    signer: Signer = field(default_factory=Signer)
    origin: provenance.Origin = field(default_factory=provenance.Origin)

    async def publish(self, address: str, *, attached: bool) -> str:
        """Build, push and attach; the address with its digest."""
        if self.compression not in _COMPRESSIONS:
            message = f"unknown compression {self.compression!r}: use {', '.join(_COMPRESSIONS)}"
            raise PipelineError(message)
        started = _now()
        assembly = await self.project.assembly_of(self.image)
        built = await assembly.image(self.image)
        compression = _COMPRESSIONS[self.compression]
        pushing = await self._with_login(built, address)
        published = await pushing.publish(address, forced_compression=compression)
        if attached:
            made = await self._attachments(assembly, built, started)
            await attach(
                assembly.environment,
                published,
                made,
                login=self.login,
                signer=self.signer,
                certificates=self.project.ca_bundle,
            )
        return published

    async def _with_login(self, built: dagger.Container, address: str) -> dagger.Container:
        """The container with the login for the push; the text of a config.json has many."""
        text = "" if self.login is None else (await self.login.plaintext()).strip()
        user, colon, password = text.partition(":")
        if text.startswith("{") or not colon:
            return built
        secret = dagger.dag.set_secret("layerline-registry-password", password)
        return built.with_registry_auth(address, user, secret)

    async def _attachments(
        self,
        assembly: Assembly,
        built: dagger.Container,
        started: str,
    ) -> Attachments:
        definition, target = assembly.definition, assembly.target
        locked = await self.project.lock_text(definition, target)
        redaction = await self._redaction()
        bill, more = await bills(built, self.image, target, lock.parse(locked))
        spec = definition.image(self.image)
        build = provenance.Build(
            image=self.image,
            target=target,
            base=await assembly.environment.fetch_base(),
            base_of_layers=await assembly.of_layers.fetch_base(),
            lock=locked,
            definition=await self.project.source.file(FILE).contents(),
            compression=self.compression,
            started=started,
            finished=_now(),
            files=await assembly.files(self.image),
            settings=redaction.apply(spec.model_dump(mode="json"), alone=True),
            inputs=await assembly.environment.inputs(),
            origin=await self._origin(),
        )
        label = await built.label(EVIDENCE_LABEL) or ""
        statements = [
            (provenance.PROVENANCE, provenance.predicate(build)),
            (provenance.TESTS, provenance.tests(label, self.image, locked)),
            (provenance.CYCLONEDX, bill),
            (provenance.SPDX, more),
        ]
        documents = [
            (CYCLONEDX, f"{self.image}.cdx.json", _json(redaction.apply(bill))),
            (SPDX, f"{self.image}.spdx.json", _json(redaction.apply(more))),
        ]
        if redaction.text(locked) == locked:  # else it is read from the source: its bytes count
            documents.append((LOCK, lock.path(target), locked))
        return Attachments(
            statements=[(kind, redaction.apply(each)) for kind, each in statements],
            documents=documents,
        )

    async def _redaction(self) -> Redaction:
        """What this call knows to be secret: its logins, its key, its indexes' hosts."""
        known = (self.login, self.project.credentials, *self.signer.secrets.values())
        given = [each for each in known if each]
        secrets = [value for each in given for value in secret_values(await each.plaintext())]
        return Redaction(secrets=tuple(secrets), hosts=self.project.wheels.hosts)

    async def _origin(self) -> provenance.Origin:
        """What the caller has said; the version is that of pyproject.toml if none was given."""
        if self.origin.version:
            return self.origin
        return replace(self.origin, version=await self.project.version())


async def bills(
    built: dagger.Container, image: str, target: str, pins: Mapping[str, lock.Pin]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of an image as a CycloneDX and as an SPDX document."""
    with span(f"list the contents of {image}"):
        listed = json.loads(await built.with_exec([PYTHON, "-c", program("metadata.py")]).stdout())
        argv = [PYTHON, "-c", program("licences.py")]  # too long for a log
        listing = built.with_exec(argv, redirect_stdout=_LICENCES).file(_LICENCES)
        found = json.loads(await listing.contents())
    bill = sbom.document(image, target, listed, pins)
    return bill, spdx.document(image, provenance.version(), bill, found)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(document: Any) -> str:  # noqa: ANN401
    return json.dumps(document, indent=1) + "\n"
