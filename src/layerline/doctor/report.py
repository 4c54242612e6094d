"""Outcomes as text for people, and as the JSON document that `report.schema.json` describes."""

from __future__ import annotations

import json
import platform
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline.doctor.examination import recommend_fixes
from layerline.doctor.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.doctor.finding import Finding, Outcome

FORMAT = 1
COULD_NOT_RUN = 2
SCHEMA = Path(__file__).with_name("report.schema.json")
_COLOURS = {
    Severity.CRITICAL: "1;31",
    Severity.HIGH: "31",
    Severity.MEDIUM: "33",
    Severity.INFO: "36",
}
_WIDEST = 100
_LABEL = 10


def status_of(outcomes: Sequence[Outcome], fail_on: Severity) -> int:
    """0 when healthy, 1 with findings that are grave enough, 2 when no check could be made.

    What one check could not find out is shown and not counted: it says nothing of the host.
    """
    if outcomes and len(_unknown(outcomes)) == len(outcomes):
        return COULD_NOT_RUN
    return int(any(finding.severity.reaches(fail_on) for finding in recommend_fixes(outcomes)))


def _unknown(outcomes: Sequence[Outcome]) -> list[str]:
    return [each.check.name for each in outcomes if each.status == "failed"]


def as_json(
    outcomes: Sequence[Outcome], *, project: Path, fail_on: Severity, seconds: float
) -> str:
    """The document of `--json`."""
    found = recommend_fixes(outcomes)
    document: dict[str, Any] = {
        "format": FORMAT,
        "project": str(project),
        "healthy": status_of(outcomes, fail_on) == 0,
        "fail_on": fail_on.value,
        "python": platform.python_version(),
        "seconds": round(seconds, 3),
        "summary": {each.value: sum(f.severity is each for f in found) for each in Severity},
        "unknown": _unknown(outcomes),
        "findings": [_finding(each) for each in found],
        "checks": [
            {
                "name": each.check.name,
                "title": each.check.title,
                "severity": each.check.severity.value,
                "status": each.status,
                "reason": each.reason,
                "seconds": round(each.seconds, 3),
            }
            for each in outcomes
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_table(outcomes: Sequence[Outcome], *, colour: bool, verbose: bool = False) -> str:
    """The findings, gravest first, then what could not be checked, then one line in sum."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    found = recommend_fixes(outcomes)
    lines: list[str] = []
    for finding in found:
        lines += _rows(finding, width, colour=colour)
    for outcome in outcomes:
        if outcome.status == "failed" or (verbose and outcome.status in ("ok", "skipped")):
            words = {"ok": "ok", "skipped": "skipped", "failed": "unknown"}
            reason = f": {outcome.reason}" if outcome.reason else ""
            lines += _wrapped(words[outcome.status], f"{outcome.check.title}{reason}", width)
    lines.append(_summary(found, outcomes))
    return "\n".join(lines) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "seen": finding.seen,
        "impact": finding.impact,
        "fix": finding.fix,
        "commands": list(finding.commands),
        "repair": finding.repair,
        "facts": dict(finding.facts),
    }


def _rows(finding: Finding, width: int, *, colour: bool) -> list[str]:
    rows = _wrapped(finding.severity.value, f"{finding.check}: {finding.seen}", width)
    if colour:
        start = f"\033[{_COLOURS[finding.severity]}m"
        rows[0] = f"{start}{rows[0][:_LABEL]}\033[0m{rows[0][_LABEL:]}"
    rows += _wrapped("", f"Impact: {finding.impact}", width)
    rows += _wrapped("", f"Fix: {finding.fix}", width)
    rows += [f"{'':{_LABEL}}  $ {command}" for command in finding.commands]
    return [*rows, ""]


def _wrapped(label: str, text: str, width: int) -> list[str]:
    lines = textwrap.wrap(
        text, max(width - _LABEL, 20), break_long_words=False, break_on_hyphens=False
    )
    return [f"{label if number == 0 else '':{_LABEL}}{line}" for number, line in enumerate(lines)]


def _summary(found: Sequence[Finding], outcomes: Sequence[Outcome]) -> str:
    counts = {each: sum(finding.severity is each for finding in found) for each in Severity}
    parts = [f"{number} {each.value}" for each, number in counts.items() if number]
    done = sum(outcome.status in ("ok", "found") for outcome in outcomes)
    made = f"{done} of {len(outcomes)} checks applied"
    text = f"{', '.join(parts)}; {made}." if parts else f"Nothing found; {made}."
    unknown = _unknown(outcomes)
    if unknown:
        text += f"\nCould not be made, and not counted: {', '.join(unknown)}."
    fixable = sorted({finding.repair for finding in found if finding.repair})
    if fixable:
        names = ", ".join(fixable)
        text += f"\nThe doctor can repair: {names}. Look first: layerline doctor --fix --dry-run"
    return text
