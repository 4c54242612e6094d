"""What an audit of images found, judged by the policy of `layerline.toml`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from layerline.pipeline import debian_tracker, osv
from layerline.pipeline.audit_policy import Accepted, Audit
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.licences import Licence, is_denied
from layerline.pipeline.requirement import normalize_name
from layerline.pipeline.vulnerability import (
    ACCEPTED,
    REFUSED,
    REPORTED,
    Document,
    Vulnerability,
    merge,
    rank,
)

_PYTHON = "PyPI"


class AuditFailed(PipelineError):
    """Something that the policy does not accept; the message lists all that was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An image with what was selected for it, and where its packages are written down.

    `known` is the output of `select_advisories.py`; `places` are path and line by kind and package.
    `licences` are those of the Python packages, where the policy denies some.
    """

    image: str
    python: Mapping[str, str]
    known: Mapping[str, Any]
    places: Mapping[tuple[str, str], tuple[str, int]]
    licences: Sequence[Licence] = ()


def find(subject: Subject) -> list[Vulnerability]:
    """The vulnerabilities of an image, of its Python packages and of its distribution's."""
    known = subject.known
    records: Sequence[Mapping[str, Any]] = known["osv"]
    installed = known["packages"]
    sources = {each["source"]: each["source_version"] for each in installed}
    python: list[Vulnerability] = []
    system: list[Vulnerability] = []
    for record in records:
        mine, theirs = _by_ecosystem(record)
        python += osv.find(mine, "pypi", subject.python, osv.compare_python)
        system += osv.find(theirs, "deb", sources, osv.compare_debian)
    if known["tracker"] is not None:
        system += debian_tracker.find(known["tracker"]["issues"], installed)
    return [*merge(python, osv.compare_python), *merge(system, osv.compare_debian)]


def _by_ecosystem(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A record with what it says of Python packages, and with the rest."""
    python = [each for each in record["affected"] if each["package"]["ecosystem"] == _PYTHON]
    rest = [each for each in record["affected"] if each not in python]
    return {**record, "affected": python}, {**record, "affected": rest}


def judge(subjects: Sequence[Subject], policy: Audit, *, today: date) -> Document:
    """The audit as data: every vulnerability once, with its images and its status, worst first."""
    images: dict[Vulnerability, list[Subject]] = {}
    for subject in subjects:
        for found in find(subject):
            images.setdefault(found, []).append(subject)
    ordered = sorted(images, key=lambda one: (-rank(one.severity), one.kind, one.package, one.id))
    entries = [_entry(each, images[each], policy, today) for each in ordered]
    return {
        "images": [subject.image for subject in subjects],
        "date": today.isoformat(),
        "policy": {"severity": policy.severity, "unfixed": policy.unfixed},
        "checked": [_checked(subject) for subject in subjects],
        "licenses": [*_licences(subjects, policy, today)],
        "vulnerabilities": sorted(entries, key=lambda each: each["status"] != REFUSED),
        "notes": [*_notes(subjects, [*images], policy, today)],
    }


def is_refused(made: Document) -> bool:
    """Whether the policy refuses a vulnerability or a licence."""
    entries = (*made["vulnerabilities"], *made["licenses"])
    return any(each["status"] == REFUSED for each in entries)


def _entry(
    found: Vulnerability, subjects: Sequence[Subject], policy: Audit, today: date
) -> Document:
    path, line = subjects[0].places.get((found.kind, found.package), (FILE, 1))
    accepted = _ongoing(found.ids, policy, today)
    return {
        **asdict(found),
        "images": [subject.image for subject in subjects],
        "status": _status(found, accepted, policy),
        "reason": accepted.reason if accepted else "",
        "until": accepted.until.isoformat() if accepted else "",
        "path": path,
        "line": line,
    }


def _status(found: Vulnerability, accepted: Accepted | None, policy: Audit) -> str:
    counts = rank(found.severity) >= rank(policy.severity) and (found.fixed or policy.unfixed)
    if not (counts or found.is_malicious):
        return REPORTED
    return ACCEPTED if accepted else REFUSED


def _ongoing(ids: Collection[str], policy: Audit, today: date) -> Accepted | None:
    """An exception for one of the ids that has not ended."""
    matching = (policy.exceptions[name] for name in sorted({*ids} & policy.exceptions.keys()))
    return next((each for each in matching if each.until >= today), None)


def _licences(subjects: Sequence[Subject], policy: Audit, today: date) -> Iterator[Document]:
    """Yield the packages with a denied licence, each once."""
    images: dict[Licence, list[Subject]] = {}
    for subject in subjects:
        for each in subject.licences:
            if is_denied(each, policy.denied_licenses):
                images.setdefault(each, []).append(subject)
    for found, having in sorted(images.items(), key=lambda each: each[0].package):
        name = normalize_name(found.package)
        accepted = _ongoing({name}, policy, today)
        path, line = having[0].places.get(("pypi", name), (FILE, 1))
        yield {
            "package": name,
            "version": found.version,
            "license": found.licence,
            "images": [subject.image for subject in having],
            "status": ACCEPTED if accepted else REFUSED,
            "reason": accepted.reason if accepted else "",
            "until": accepted.until.isoformat() if accepted else "",
            "path": path,
            "line": line,
        }


def _checked(subject: Subject) -> Document:
    known, data = subject.known, subject.known["data"]
    return {
        "image": subject.image,
        "python_packages": len(subject.python),
        "system_packages": len(known["packages"]),
        "system": f"{known['release']['ID']} {known['release']['VERSION_ID']}",
        "records": data["records"],
        "newest": data["newest"],
        "tracker": known["tracker"] is not None,
    }


def _notes(
    subjects: Sequence[Subject], found: Collection[Vulnerability], policy: Audit, today: date
) -> Iterator[str]:
    """Yield what is wrong with the exceptions."""
    ids = {name for each in found for name in each.ids}
    known = {name for subject in subjects for name in known_ids(subject.known)}
    denied = {
        normalize_name(each.package)
        for subject in subjects
        for each in subject.licences
        if is_denied(each, policy.denied_licenses)
    }
    ids |= denied
    known |= denied
    for name, accepted in sorted(policy.exceptions.items()):
        where = f"[audit.exceptions.{name}] of {FILE}"
        if name not in known:
            yield f"{name} is not in the data: check the id of {where}, or remove it"
        elif name not in ids:
            yield f"{name} concerns no package of these images: remove {where}"
        elif accepted.until < today:
            yield (
                f"the exception of {name} ended on {accepted.until}: update the package, or give "
                f"{where} another day and say why"
            )


def known_ids(known: Mapping[str, Any]) -> set[str]:
    """Of the ids that were asked for, those that the data has."""
    return {*known["data"]["known"], *(known["tracker"] or {}).get("known", ())}
