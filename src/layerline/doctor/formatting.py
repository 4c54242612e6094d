"""Results as text for people, and as the JSON document that `report.schema.json` describes."""

from __future__ import annotations

import json
import platform
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline.doctor.finding import Severity
from layerline.doctor.runner import rank_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.doctor.finding import CheckResult, Finding

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


def exit_code(results: Sequence[CheckResult], fail_on: Severity) -> int:
    """0 when healthy, 1 with findings that are grave enough, 2 when no check could run.

    A check that failed to run is shown and not counted: it says nothing about the host.
    """
    if results and len(_unknown(results)) == len(results):
        return COULD_NOT_RUN
    return int(any(finding.severity.reaches(fail_on) for finding in rank_findings(results)))


def _unknown(results: Sequence[CheckResult]) -> list[str]:
    return [each.check.name for each in results if each.status == "failed"]


def format_json(
    results: Sequence[CheckResult], *, project: Path, fail_on: Severity, seconds: float
) -> str:
    """The document of `--json`."""
    found = rank_findings(results)
    document: dict[str, Any] = {
        "format": FORMAT,
        "project": str(project),
        "healthy": exit_code(results, fail_on) == 0,
        "fail_on": fail_on.value,
        "python": platform.python_version(),
        "seconds": round(seconds, 3),
        "summary": {each.value: sum(f.severity is each for f in found) for each in Severity},
        "unknown": _unknown(results),
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
            for each in results
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def format_table(results: Sequence[CheckResult], *, colour: bool, verbose: bool = False) -> str:
    """The findings, most severe first, the checks that failed to run, and a summary."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    found = rank_findings(results)
    lines: list[str] = []
    for finding in found:
        lines += _rows(finding, width, colour=colour)
    for result in results:
        if result.status == "failed" or (verbose and result.status in ("ok", "skipped")):
            labels = {"ok": "ok", "skipped": "skipped", "failed": "unknown"}
            reason = f": {result.reason}" if result.reason else ""
            lines += _wrap(labels[result.status], f"{result.check.title}{reason}", width)
    lines.append(_summary(found, results))
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
    rows = _wrap(finding.severity.value, f"{finding.check}: {finding.seen}", width)
    if colour:
        start = f"\033[{_COLOURS[finding.severity]}m"
        rows[0] = f"{start}{rows[0][:_LABEL]}\033[0m{rows[0][_LABEL:]}"
    rows += _wrap("", f"Impact: {finding.impact}", width)
    rows += _wrap("", f"Fix: {finding.fix}", width)
    rows += [f"{'':{_LABEL}}  $ {command}" for command in finding.commands]
    return [*rows, ""]


def _wrap(label: str, text: str, width: int) -> list[str]:
    lines = textwrap.wrap(
        text, max(width - _LABEL, 20), break_long_words=False, break_on_hyphens=False
    )
    return [f"{label if number == 0 else '':{_LABEL}}{line}" for number, line in enumerate(lines)]


def _summary(found: Sequence[Finding], results: Sequence[CheckResult]) -> str:
    counts = {each: sum(finding.severity is each for finding in found) for each in Severity}
    parts = [f"{number} {each.value}" for each, number in counts.items() if number]
    done = sum(result.status in ("ok", "found") for result in results)
    ran = f"{done} of {len(results)} checks applied"
    text = f"{', '.join(parts)}; {ran}." if parts else f"No problems found; {ran}."
    unknown = _unknown(results)
    if unknown:
        text += f"\nFailed to run, and not counted: {', '.join(unknown)}."
    fixable = sorted({finding.repair for finding in found if finding.repair})
    if fixable:
        names = ", ".join(fixable)
        text += f"\nThe doctor can repair: {names}. Preview: layerline doctor --fix --dry-run"
    return text
