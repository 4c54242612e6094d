"""Runs the checks and gives their outcomes; decides nothing about how they are shown."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, Finding, NotApplicable, Outcome, Seen
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.doctor.subject import Subject


def examine(subject: Subject, checks: Sequence[Check]) -> list[Outcome]:
    """One outcome for each check, in order; those that wait come last and wait together."""
    made = {each.name: _run(each, subject) for each in checks if not each.waits}
    with ThreadPoolExecutor() as pool:  # not before: some of the others fork
        waiting = {each.name: pool.submit(_run, each, subject) for each in checks if each.waits}
        made.update({name: future.result() for name, future in waiting.items()})
    return [made[each.name] for each in checks]


def recommend_fixes(outcomes: Sequence[Outcome]) -> list[Finding]:
    """All findings, gravest first; the order of the checks decides between equals."""
    found = [finding for outcome in outcomes for finding in outcome.findings]
    return sorted(found, key=lambda finding: finding.severity.rank)


def _run(check: Check, subject: Subject) -> Outcome:
    subject.tell(check.title)
    began = time.monotonic()
    try:
        found = tuple(_finding(check, seen) for seen in check.run(subject))
    except NotApplicable as exc:
        return Outcome(check, "skipped", str(exc), seconds=time.monotonic() - began)
    except (LayerlineError, OSError, ValueError) as exc:
        # One check that cannot be made must not hide what the others see.
        return Outcome(
            check, "failed", f"{type(exc).__name__}: {exc}", seconds=time.monotonic() - began
        )
    status = "found" if found else "ok"
    return Outcome(check, status, findings=found, seconds=time.monotonic() - began)


def _finding(check: Check, seen: Seen) -> Finding:
    return Finding(
        check=check.name,
        severity=seen.severity or check.severity,
        seen=seen.seen,
        impact=seen.impact or check.impact,
        fix=seen.fix or check.fix,
        commands=seen.commands,
        repair=seen.repair,
        facts=seen.facts,
    )
