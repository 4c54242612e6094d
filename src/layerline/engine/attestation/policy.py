"""What an image must fulfil to be taken: a policy, as a file in TOML or as flags."""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from layerline.engine.attestation.identities import Identities, Identity, read_identities
from layerline.engine.attestation.keys import PublicKey, read_key
from layerline.errors import UsageError
from layerline.suggestion import did_you_mean
from layerline.text_file import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from layerline.engine.attestation.statements import Statement

_LISTS = ("keys", "bases", "builders", "probes", "rebuilt_by")
_KNOWN = (*_LISTS, "identities", "trusted_root", "max_age_days", "min_version")
EARLY = timedelta(minutes=5)  # clocks of two machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Empty values ask for nothing. `bases` and `builders` are patterns, one of which must match.

    `probes` must all have passed: `NAME` of any part, or `PART: NAME`. One of `rebuilt_by` must
    have signed that it built the layers again.
    """

    keys: tuple[PublicKey, ...] = ()
    identities: tuple[Identities, ...] = ()
    bases: tuple[str, ...] = ()
    builders: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    rebuilt_by: tuple[PublicKey, ...] = ()
    max_age: timedelta | None = None
    min_version: Version | None = None

    def provenance_problems(self, statement: Statement, now: datetime) -> Iterator[str]:
        """Yield what of a provenance is not as it must be."""
        yield from self._problems_of_origin(statement)
        finished = finished_at(statement)
        if finished is None:
            yield "time: the provenance does not say when the build finished"
        elif finished > now + EARLY:
            yield f"time: the build finished in the future, at {finished:%Y-%m-%d %H:%M} UTC"
        elif self.max_age is not None and now - finished > self.max_age:
            age = (now - finished).days
            yield (
                f"time: the image was built {age} days ago, on {finished:%Y-%m-%d}; "
                f"the policy takes {self.max_age.days} days"
            )
        if self.min_version is not None:
            yield from self._version_problems(statement, self.min_version)

    def _problems_of_origin(self, statement: Statement) -> Iterator[str]:
        builder = str(_at(statement.predicate, "runDetails", "builder", "id") or "")
        if self.builders and not _matches(builder, self.builders):
            yield f"builder: {builder!r} is none of {', '.join(self.builders)}"
        if not self.bases:
            return
        name, digest = base_of(statement)
        if not any(_matches(each, self.bases) for each in (name, digest, f"{name}@{digest}")):
            yield f"base: {name}@{digest} is none of {', '.join(self.bases)}"

    def _version_problems(self, statement: Statement, wanted: Version) -> Iterator[str]:
        named = str(
            _at(statement.predicate, "buildDefinition", "externalParameters", "version") or ""
        )
        try:
            found = Version(named)
        except InvalidVersion:
            yield f"version: the provenance names {named!r}; the policy takes {wanted} or newer"
            return
        if found < wanted:
            yield f"version: {found} is older than {wanted}, the oldest that the policy takes"

    def probe_problems(self, results: Sequence[Statement]) -> Iterator[str]:
        """Yield the probes that must have passed and did not, given the results of one build."""
        passed = {str(each) for one in results for each in one.predicate.get("passedTests") or ()}
        for each in results:
            if each.predicate.get("result") != "PASSED" or each.predicate.get("failedTests"):
                yield f"probe: the results say {each.predicate.get('result')!r}"
        names = passed | {each.rpartition(": ")[2] for each in passed}
        for name in self.probes:
            if name not in names:
                yield f"probe: {name!r} did not run, or did not pass"


def read_policy(path: Path) -> Policy:
    """Read a policy; paths of keys are relative to it. Raises UsageError."""
    hint = "see docs/how-to/verify.md for an example"
    text = read_text(path, hint=hint, error=UsageError)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        message = f"cannot read the policy {path}: invalid TOML: {exc}: fix it; {hint}"
        raise UsageError(message) from exc
    if unknown := sorted(document.keys() - set(_KNOWN)):
        hint = did_you_mean(unknown[0], _KNOWN) or f": use {', '.join(_KNOWN)}"
        message = f"unknown key {unknown[0]!r} in {path}{hint}"
        raise UsageError(message)
    lists = {name: _texts(document, name, path) for name in _LISTS}
    age = document.get("max_age_days")
    if age is not None and (not isinstance(age, int) or age < 0):
        message = f"invalid max_age_days {age!r} in {path}: use a number of days"
        raise UsageError(message)
    return Policy(
        keys=tuple(read_key(path.parent / name) for name in lists["keys"]),
        identities=tuple(_identities(document, path)),
        rebuilt_by=tuple(read_key(path.parent / name) for name in lists["rebuilt_by"]),
        bases=lists["bases"],
        builders=lists["builders"],
        probes=lists["probes"],
        max_age=None if age is None else timedelta(days=age),
        min_version=_version(document, path),
    )


def _identities(document: Mapping[str, Any], path: Path) -> Iterator[Identities]:
    """Yield the identities, with the trusted root that they are verified by."""
    listed, root = document.get("identities", []), document.get("trusted_root")
    if not isinstance(listed, list) or not all(_is_identity(each) for each in listed):
        entry = '{ identity = "SUBJECT", issuer = "URL" }'
        message = f"invalid identities in {path}: use a list of {entry}"
        raise UsageError(message)
    if bool(listed) != isinstance(root, str):
        message = (
            f"{path} needs both identities and trusted_root, or neither: the latter is a file with "
            "the keys of Fulcio and Rekor"
        )
        raise UsageError(message)
    if listed:
        trusted = (Identity(subject=each["identity"], issuer=each["issuer"]) for each in listed)
        yield read_identities(tuple(trusted), path.parent / str(root))


def _is_identity(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"identity", "issuer"}
        and all(isinstance(each, str) and each for each in entry.values())
    )


def _version(document: Mapping[str, object], path: Path) -> Version | None:
    named = document.get("min_version")
    try:
        return None if named is None else Version(str(named))
    except InvalidVersion as exc:
        message = f'invalid min_version {named!r} in {path}: use a version, e.g. "1.4.0"'
        raise UsageError(message) from exc


def _texts(document: Mapping[str, object], name: str, path: Path) -> tuple[str, ...]:
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        message = f"invalid {name} in {path}: use a list of texts"
        raise UsageError(message)
    return tuple(found)


def finished_at(statement: Statement) -> datetime | None:
    """When a build finished; None where the provenance does not say."""
    text = _at(statement.predicate, "runDetails", "metadata", "finishedOn")
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def base_of(statement: Statement) -> tuple[str, str]:
    """The name of the base image and its digest, as the provenance has them; empty without."""
    found = _at(statement.predicate, "buildDefinition", "resolvedDependencies")
    for each in found if isinstance(found, list) else []:
        if isinstance(each, dict) and each.get("name") == "base":
            digests = each.get("digest")
            digest = str(digests.get("sha256", "")) if isinstance(digests, dict) else ""
            return str(each.get("uri", "")).removeprefix("oci://"), f"sha256:{digest}"
    return "", ""


def _at(document: Any, *names: str) -> Any:  # noqa: ANN401 - JSON from outside
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, each) for each in patterns)
