"""Whether an image is what somebody trusted has said of it.

An image is verified if one provenance that a trusted key or identity has signed holds for it
entirely. What else is attached, by whomever, changes nothing: everybody who may push may attach.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from layerline.engine.attestation.identities import NotSigned
from layerline.engine.attestation.policy import EARLY, Policy, base_of, finished_at
from layerline.engine.attestation.referrers import Attached, read_attached
from layerline.engine.attestation.statements import (
    BUNDLE,
    PAYLOAD,
    PROVENANCE,
    REBUILT,
    SUMMARY,
    TESTS,
    Statement,
    parse_attached,
)
from layerline.engine.image import manifests
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.digest import digest_bytes
from layerline.errors import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layerline.engine.attestation.identities import Identities, Identity
    from layerline.engine.attestation.keys import PublicKey
    from layerline.engine.image.registry.repository import Repository
    from layerline.settings import Settings

EVIDENCE_LABEL = "layerline.evidence"
_CONFIG, _LAYER, _DOCUMENT, _STATEMENT = "config", "layer ", "document ", "statement "


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A statement, and the name of the trusted key or identity that signed it.

    `until` is when the certificate of an identity ended: it was logged before that.
    """

    statement: Statement
    signer: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An image in a registry: its digest, that of its config, and those of its layers' tars."""

    digest: str
    config: str
    diff_ids: tuple[str, ...]
    labels: Mapping[str, str]

    @property
    def parts(self) -> dict[str, str]:
        """The digests of its parts, as a provenance names them."""
        layers = {f"{_LAYER}{number}": each for number, each in enumerate(self.diff_ids, 1)}
        return {_CONFIG: self.config, **layers}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found. The image is verified if `problems` is empty.

    `provenance` is the one that was taken, or that the problems are about; `documents` are what is
    attached, by title, as the provenance has their digests.
    """

    subject: Subject
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    provenance: Signed | None = None
    documents: Mapping[str, bytes] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """What the provenance says, for people: who signed, builder, time, base, source."""
        if self.provenance is None:
            return {}
        statement = self.provenance.statement
        base, digest = base_of(statement)
        finished = finished_at(statement)
        details = statement.predicate.get("runDetails") or {}
        found = {
            "signed by": self.provenance.signer,
            "signed before": _minute(self.provenance.until),
            "built by": str((details.get("builder") or {}).get("id", "")),
            "built on": _minute(finished),
            "base": f"{base}@{digest}" if base else "",
            "layers": str(len(self.subject.diff_ids)),
        }
        return {name: value for name, value in found.items() if value}


def _minute(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else ""


def read_subject(repository: Repository, which: str) -> Subject:
    """The image under a tag or a digest; of an index, its first image has the parts."""
    raw = repository.manifest(which)
    found = raw
    if found.descriptor.media_type in manifests.INDEX_TYPES:
        index = manifests.parse_index(found.data, found.descriptor.media_type)
        if not index.manifests:
            message = f"{repository.reference} is an index without images"
            raise ArchiveInvalid(message)
        found = repository.manifest(index.manifests[0].digest)
    manifest = manifests.parse_manifest(found.data, found.descriptor.media_type)
    config = manifests.parse_json(repository.document(manifest.config), "configuration")
    try:
        diff_ids = tuple(str(each) for each in config["rootfs"]["diff_ids"])
        labels = dict((config.get("config") or {}).get("Labels") or {})
    except (KeyError, TypeError, ValueError) as exc:
        message = f"invalid configuration of an image: {exc!r}"
        raise ArchiveInvalid(message) from exc
    return Subject(
        digest=raw.descriptor.digest,
        config=manifest.config.digest,
        diff_ids=diff_ids,
        labels=labels,
    )


def verify_address(settings: Settings, address: str, policy: Policy) -> Verification:
    """Verify the image at an address, asked at the registry itself."""
    reference = Reference.parse(address).with_default_tag()
    with Registries.open(settings) as registries:
        repository = registries.registry(reference)
        return verify_image(repository, reference.digest or reference.tag or "", policy)


def verify_image(
    repository: Repository, which: str, policy: Policy, *, now: datetime | None = None
) -> Verification:
    """Verify the image under a tag or a digest by a policy, which names a key or an identity."""
    subject = read_subject(repository, which)
    attached, broken = read_attached(repository, subject.digest)
    signed, refused = _signed(attached, policy.keys, policy.identities)
    notes = (*broken, *refused)
    again = list(_rebuild_problems(subject, attached, policy))
    results = [
        (
            [*again, *_problems(subject, each, signed, attached, policy, now or datetime.now(UTC))],
            each,
        )
        for each in signed
        if each.statement.predicate_type == PROVENANCE
    ]
    if not results:
        return Verification(
            subject=subject, problems=tuple(_without_provenance(attached, notes)), notes=notes
        )
    problems, chosen = min(results, key=lambda each: len(each[0]))
    named = chosen.statement.digests("runDetails.byproducts")
    wanted = {name: digest for name, digest in named.items() if name.startswith(_DOCUMENT)}
    by_digest: dict[str, bytes] = {digest_bytes(each.data): each.data for each in attached}
    return Verification(
        subject=subject,
        problems=tuple(problems),
        notes=notes,
        provenance=chosen,
        documents={
            name.removeprefix(_DOCUMENT): by_digest[digest]
            for name, digest in wanted.items()
            if digest in by_digest
        },
    )


def _signed(
    attached: Sequence[Attached],
    keys: Sequence[PublicKey],
    identities: Sequence[Identities] = (),
) -> tuple[list[Signed], tuple[str, ...]]:
    """The statements that a trusted key or identity has signed, and why it does not take others."""
    found, notes = [], []
    for each in attached:
        if each.kind not in (BUNDLE, PAYLOAD):
            continue
        try:
            statement = parse_attached(each.kind, each.data)
        except ArchiveInvalid as exc:
            notes.append(f"signature: {each.digest[:19]} is not taken: {exc}")
            continue
        signed = (
            _by_identity(statement, each.data, identities)
            if statement.is_of_identity
            else _by_key(statement, keys)
        )
        if isinstance(signed, Signed):
            found.append(signed)
        else:
            notes.append(f"signature: the {_name(statement.predicate_type)} {signed}")
    return found, tuple(notes)


def _by_identity(
    statement: Statement, bundle: bytes, identities: Sequence[Identities]
) -> Signed | str:
    """The statement as a trusted identity has signed it, or why it is not taken."""
    reason = "is signed by an identity, and none is trusted: give --identity with --issuer"
    for each in identities:
        try:
            return _in_time(statement, *each.verify(bundle))
        except NotSigned as exc:
            reason = f"is not signed by a trusted identity: {exc}"
    return reason


def _in_time(statement: Statement, identity: Identity, until: datetime) -> Signed | str:
    """The statement, unless it names a time after that of its signature."""
    finished = finished_at(statement)
    if finished is not None and finished > until + EARLY:
        return (
            f"says that the build finished on {_minute(finished)}, but was signed before "
            f"{_minute(until)}"
        )
    return Signed(statement=statement, signer=identity.name, until=until)


def _by_key(statement: Statement, keys: Sequence[PublicKey]) -> Signed | str:
    """The statement as a trusted key has signed it, or why it is not taken."""
    signer = _signer(statement, keys)
    if signer is None:
        return _why_not(statement, keys)
    refusal = _refusal(signer, statement)
    return refusal or Signed(statement=statement, signer=signer.name)


def _signer(statement: Statement, keys: Sequence[PublicKey]) -> PublicKey | None:
    data = statement.signed_bytes
    for _, signature in statement.signatures:
        for key in keys:
            if key.has_signed(signature, data):
                return key
    return None


def _refusal(key: PublicKey, statement: Statement) -> str | None:
    """Why a key is not believed for the time that a provenance names."""
    finished = finished_at(statement)
    if finished is None:
        return None
    if finished.timestamp() < key.not_before:
        return f"is older than the time from which {key.name} is trusted"
    if key.revoked_from is not None and finished.timestamp() >= key.revoked_from:
        return f"is signed by {key.name}, which was revoked before"
    return None


def _why_not(statement: Statement, keys: Sequence[PublicKey]) -> str:
    if not statement.signatures:
        return "is not signed"
    hint = statement.signatures[0][0]
    if hint in {key.hint for key in keys}:
        return "does not match its signature: it was changed after it was signed"
    return f"is signed by another key, {hint[:80]!r}"


def _name(predicate_type: str) -> str:
    known = {PROVENANCE: "provenance", TESTS: "result of the probes"}
    return known.get(predicate_type, f"statement {predicate_type}")


def _without_provenance(attached: Sequence[Attached], notes: Sequence[str]) -> Iterator[str]:
    if not attached:
        yield "provenance: nothing is attached to the image"
        return
    yield "provenance: there is none that a trusted key or identity has signed"
    yield from notes


def _problems(
    subject: Subject,
    provenance: Signed,
    signed: Sequence[Signed],
    attached: Sequence[Attached],
    policy: Policy,
    now: datetime,
) -> Iterator[str]:
    """Yield why a provenance does not hold for an image."""
    statement = provenance.statement
    named = statement.digests("runDetails.byproducts")
    if subject.digest not in statement.subjects:
        about = ", ".join(sorted(statement.subjects)) or "no image"
        yield f"subject: the provenance is about {about}, the image is {subject.digest}"
    yield from _changed_parts(subject, named)
    yield from policy.provenance_problems(statement, now)
    by_digest: dict[str, Statement] = {
        digest_bytes(each.statement.payload): each.statement for each in signed
    }
    contents: set[str] = {digest_bytes(each.data) for each in attached}
    for name, digest in named.items():
        if name.startswith(_STATEMENT) and digest not in by_digest:
            kind = _name(name.removeprefix(_STATEMENT))
            yield f"statements: the {kind} that the provenance names is missing or was changed"
        if name.startswith(_DOCUMENT) and digest not in contents:
            title = name.removeprefix(_DOCUMENT)
            yield f"documents: {title} as the provenance names it is missing or was changed"
    results = [
        by_digest[digest]
        for name, digest in named.items()
        if name == f"{_STATEMENT}{TESTS}" and digest in by_digest
    ]
    yield from policy.probe_problems(results)
    for each in results:
        yield from _label_problems(subject, each)


def _rebuild_problems(
    subject: Subject, attached: Sequence[Attached], policy: Policy
) -> Iterator[str]:
    """Yield a problem if nobody whom the policy names has built the image again."""
    if not policy.rebuilt_by:
        return
    for each in _signed(attached, policy.rebuilt_by)[0]:
        predicate = each.statement.predicate
        if (
            each.statement.predicate_type == SUMMARY
            and subject.digest in each.statement.subjects
            and predicate.get("verificationResult") == "PASSED"
            and REBUILT in (predicate.get("verifiedLevels") or ())
        ):
            return
    names = ", ".join(key.name for key in policy.rebuilt_by)
    yield f"rebuilt: none of {names} has signed that it built the layers again"


def _changed_parts(subject: Subject, named: Mapping[str, str]) -> Iterator[str]:
    parts = subject.parts
    known = {name: named[name] for name in named if name == _CONFIG or name.startswith(_LAYER)}
    for name in [*parts, *(each for each in known if each not in parts)]:
        if parts.get(name) != known.get(name):
            found, wanted = (each.get(name, "missing") for each in (parts, known))
            yield f"{name}: {found} in the image, {wanted} in the provenance"


def _label_problems(subject: Subject, results: Statement) -> Iterator[str]:
    digest = digest_bytes(subject.labels.get(EVIDENCE_LABEL, "").encode())
    if digest != results.digests("configuration").get(EVIDENCE_LABEL):
        yield f"label: {EVIDENCE_LABEL} is not what the signed results of the probes are of"
