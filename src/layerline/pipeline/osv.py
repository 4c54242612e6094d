"""Whether a version is affected, by the records of the Open Source Vulnerability format.

https://ossf.github.io/osv-schema/#evaluation. A bound that cannot be read counts as affected: an
audit that is wrong must not be so in silence.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError
from debian_inspector.version import Version as DebianVersion
from debian_inspector.version import compare_versions
from packaging.version import InvalidVersion, Version

from layerline.pipeline.requirement import normalize_name
from layerline.pipeline.vulnerability import UNKNOWN, Vulnerability, severity_of

Compare = Callable[[str, str], int]
_FIRST = "0"
_CALCULATORS = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}
# Of GitHub's advisories.
_WORDS = {"LOW": "low", "MODERATE": "medium", "MEDIUM": "medium", "HIGH": "high"}
_WORDS["CRITICAL"] = "critical"
_RANGES = ("ECOSYSTEM", "SEMVER")


def compare_python(one: str, other: str) -> int:
    """Order two versions as PEP 440 does; raises `InvalidVersion`."""
    first, second = Version(one), Version(other)
    return (first > second) - (first < second)


def compare_debian(one: str, other: str) -> int:
    """Order two versions as dpkg does (deb-version(7)); raises ValueError."""
    order: int = compare_versions(DebianVersion.from_string(one), DebianVersion.from_string(other))
    return order


def find(
    record: Mapping[str, Any], kind: str, versions: Mapping[str, str], compare: Compare
) -> Iterator[Vulnerability]:
    """Yield the vulnerability of each package that a record concerns; `versions` are by name."""
    if record.get("withdrawn"):
        return
    for affected in record["affected"]:
        name = affected["package"]["name"]
        name = normalize_name(name) if kind == "pypi" else name
        version = versions.get(name)
        if version is None or not is_affected(affected, version, compare):
            continue
        severity, score = _rate(record, affected)
        yield Vulnerability(
            id=record["id"],
            aliases=tuple(sorted({*(record["aliases"] or ()), *(record["upstream"] or ())})),
            kind=kind,
            package=name,
            version=version,
            fixed=_fixed(affected, version, compare),
            severity=severity,
            score=score,
            summary=str(record["summary"] or "").strip(),
            url=f"https://osv.dev/vulnerability/{record['id']}",
        )


def is_affected(affected: Mapping[str, Any], version: str, compare: Compare) -> bool:
    """Whether the versions or one of the ranges of an entry have a version."""
    listed = any(_order(each, version, compare) == 0 for each in affected.get("versions") or ())
    return listed or any(_is_in(events, version, compare) for events in _events(affected))


def _events(affected: Mapping[str, Any]) -> Iterator[list[tuple[str, str]]]:
    """Yield the events of each range of versions; ranges of commits say nothing of a release."""
    for each in affected.get("ranges") or ():
        if each.get("type") in _RANGES:
            yield [pair for event in each.get("events") or () for pair in event.items()]


def _is_in(events: Iterable[tuple[str, str]], version: str, compare: Compare) -> bool:
    """The last event at or below the version decides, whatever their order in the record."""
    lower: list[tuple[str, str]] = []
    for kind, bound in events:
        order = 1 if kind == "limit" else _order(bound, version, compare)  # of commits alone
        if order is None:
            return True
        # What is said of the last affected version holds from the next one on.
        if order < 0 or (order == 0 and kind != "last_affected"):
            lower.append((kind, bound))
    last: tuple[str, str] | None = None
    for each in lower:
        if last is None or (_order(each[1], last[1], compare) or 0) >= 0:
            last = each
    return last is not None and last[0] == "introduced"


def _fixed(affected: Mapping[str, Any], version: str, compare: Compare) -> str:
    """The lowest fixed version above this one in a range that has it."""
    later = [
        bound
        for events in _events(affected)
        if _is_in(events, version, compare)
        for kind, bound in events
        if kind == "fixed" and (_order(bound, version, compare) or 0) > 0
    ]
    best = ""
    for each in later:
        if not best or (_order(each, best, compare) or 0) < 0:
            best = each
    return best


def _order(bound: str, version: str, compare: Compare) -> int | None:
    """How a bound compares with a version; None if one of them cannot be read."""
    if bound == _FIRST:
        return -1
    try:
        return compare(bound, version)
    except (InvalidVersion, ValueError):
        return 0 if bound == version else None


def _rate(record: Mapping[str, Any], affected: Mapping[str, Any]) -> tuple[str, float | None]:
    """Severity and score: the worst of the vectors, else the database's word for it."""
    given = [*(record.get("severity") or ()), *(affected.get("severity") or ())]
    scores = [score for each in given if (score := score_of(each)) is not None]
    if scores:
        return severity_of(max(scores)), max(scores)
    word = str(record.get("database_severity") or "").upper()
    return _WORDS.get(word, UNKNOWN), None


def score_of(severity: Mapping[str, str]) -> float | None:
    """The base score of a CVSS vector; None for what is not one."""
    calculator = _CALCULATORS.get(severity.get("type", ""))
    if calculator is None:
        return None
    try:
        return float(calculator(severity.get("score", "")).scores()[0])
    except CVSSError:
        return None
