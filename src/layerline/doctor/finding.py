"""The doctor's values: checks, what they observe, findings and results.

Invariant: a check never prints; `formatting` alone turns results into text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from layerline.doctor.subject import Subject


class Severity(Enum):
    """The severity of a finding, most severe first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the most severe."""
        return list(Severity).index(self)

    def reaches(self, other: Severity) -> bool:
        """Whether this is at least as severe as the other."""
        return self.rank <= other.rank


class NotApplicable(Exception):
    """There is nothing to check; the text says why."""


@dataclass(frozen=True)
class Observation:
    """One problem that a check observed; what is None is taken from the check."""

    text: str
    commands: tuple[str, ...] = ()
    severity: Severity | None = None
    impact: str | None = None
    fix: str | None = None
    repair: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A check: `run` yields what is wrong, nothing when all is well.

    `waits` marks those that wait for somebody's answer: they are made together, at the end.
    """

    name: str
    title: str
    severity: Severity
    impact: str
    fix: str
    run: Callable[[Subject], Iterable[Observation]]
    waits: bool = False


@dataclass(frozen=True)
class Finding:
    """A reported problem. `repair` is the repair of `--fix`, if any; `facts` are for programs."""

    check: str
    severity: Severity
    seen: str
    impact: str
    fix: str
    commands: tuple[str, ...]
    repair: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check: ok, found, skipped or failed; the last two have a `reason`."""

    check: Check
    status: str
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
