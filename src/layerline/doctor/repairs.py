"""What `--fix` does: edits of ignore files, and docker commands after confirmation.

Invariant: an edit stays inside its marked block; only commands that a finding names are run.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.doctor.edits import Edit, with_block, without_block, write
from layerline.doctor.ignore import ignore_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerline.doctor.finding import Finding
    from layerline.doctor.subject import Subject

_MINUTES = 600.0
IGNORE_FILES = ("*.dockerignore", ".containerignore")


@dataclass(frozen=True)
class Repair:
    """A repair that findings refer to. Safe ones only change marked blocks."""

    name: str
    title: str
    safe: bool


IGNORE_FILE = Repair("ignore-file", "write the essential patterns into the ignore file", safe=True)
REPAIRS = {
    repair.name: repair
    for repair in (
        IGNORE_FILE,
        Repair("build-cache", "prune docker's build cache", safe=False),
        Repair("builder", "recreate docker's current builder", safe=False),
    )
}


@dataclass(frozen=True)
class Plan:
    """The changes of a repair: edits, then commands."""

    edits: tuple[Edit, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()

    def describe(self) -> str:
        """The plan for people: a diff, and the commands."""
        diffs = [edit.diff() for edit in self.edits if edit.changes]
        return "\n".join([*diffs, *(f"$ {shlex.join(argv)}" for argv in self.commands)])


def plan_fixes(subject: Subject, findings: Sequence[Finding], names: Sequence[str]) -> Plan:
    """The repairs of these names; without names, the safe ones that a finding asks for."""
    requested = {finding.repair for finding in findings if finding.repair}
    chosen = names or [name for name in sorted(requested) if REPAIRS[name].safe]
    edits = (ignore_edit(subject),) if IGNORE_FILE.name in chosen else ()
    unsafe = [name for name in chosen if not REPAIRS[name].safe]
    commands = dict.fromkeys(
        tuple(shlex.split(command))
        for finding in findings
        if finding.repair in unsafe
        for command in finding.commands
    )
    return Plan(edits, tuple(commands))


def apply_fixes(subject: Subject, plan: Plan, *, confirm: Callable[[str], bool]) -> list[str]:
    """Apply a plan and return a line for each change; `confirm` is called before each command."""
    done = []
    for edit in plan.edits:
        if edit.changes:
            write(edit, subject.project)
            done.append(f"changed {edit.path}")
    for argv in plan.commands:
        text = shlex.join(argv)
        if confirm(f"Run `{text}`?"):
            subject.run_program(*argv, timeout=_MINUTES)
            done.append(f"ran {text}")
    return done


def undo_fixes(subject: Subject) -> Plan:
    """The plan that takes the doctor's blocks out of all ignore files of the project."""
    named = {subject.project / f"{each.path}.dockerignore" for each in subject.dockerfiles}
    generic = {path for name in IGNORE_FILES for path in subject.project.glob(name)}
    edits = (without_block(path) for path in sorted(named | generic))
    return Plan(tuple(edit for edit in edits if edit.changes))


def ignore_edit(subject: Subject) -> Edit:
    """The ignore file with the generated patterns in front of the user's own."""
    return with_block(subject.ignore.path, ignore_lines(subject.dockerfiles, subject.project))
