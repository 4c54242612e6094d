"""Running checks, those that wait for an answer in parallel; nothing here formats results."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, CheckResult, Finding, NotApplicable, Observation
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.doctor.subject import Subject


def run_checks(subject: Subject, checks: Sequence[Check]) -> list[CheckResult]:
    """One result for each check, in order; those that wait come last and wait together."""
    results = {each.name: _run_check(each, subject) for each in checks if not each.waits}
    with ThreadPoolExecutor() as pool:  # not before: some of the others fork
        waiting = {
            each.name: pool.submit(_run_check, each, subject) for each in checks if each.waits
        }
        results.update({name: future.result() for name, future in waiting.items()})
    return [results[each.name] for each in checks]


def rank_findings(results: Sequence[CheckResult]) -> list[Finding]:
    """All findings, gravest first; the order of the checks decides between equals."""
    found = [finding for result in results for finding in result.findings]
    return sorted(found, key=lambda finding: finding.severity.rank)


def _run_check(check: Check, subject: Subject) -> CheckResult:
    subject.on_progress(check.title)
    began = time.monotonic()
    try:
        found = tuple(_finding(check, each) for each in check.run(subject))
    except NotApplicable as exc:
        return CheckResult(check, "skipped", str(exc), seconds=time.monotonic() - began)
    except (LayerlineError, OSError, ValueError) as exc:
        # One check that cannot be made must not hide what the others see.
        return CheckResult(
            check, "failed", f"{type(exc).__name__}: {exc}", seconds=time.monotonic() - began
        )
    status = "found" if found else "ok"
    return CheckResult(check, status, findings=found, seconds=time.monotonic() - began)


def _finding(check: Check, observation: Observation) -> Finding:
    return Finding(
        check=check.name,
        severity=observation.severity or check.severity,
        seen=observation.text,
        impact=observation.impact or check.impact,
        fix=observation.fix or check.fix,
        commands=observation.commands,
        repair=observation.repair,
        facts=observation.facts,
    )
