"""The doctor's command line: examine, report, repair.

Invariant: exit status 0 is healthy, 1 is findings at or above --fail-on, 2 that it could not run,
or that no check could be made.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.doctor.buildscript import generate_build_script
from layerline.doctor.catalogue import CHECKS
from layerline.doctor.examination import examine, recommend_fixes
from layerline.doctor.finding import Check, Severity
from layerline.doctor.repairs import REPAIRS, Plan, apply_fixes, plan_fixes, undo_fixes
from layerline.doctor.report import COULD_NOT_RUN, SCHEMA, as_json, as_table, status_of
from layerline.doctor.subject import GB, MB, Limits, Subject
from layerline.errors import LayerlineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_QUIET_SECONDS = 1.0
_TELL_SECONDS = 0.5
_EXECUTABLE = 0o111


def run(
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    program: str = "layerline doctor",
    tool: Sequence[str] = (),
) -> int:
    """Run the doctor's command line; the exit status. `tool` begins a command line of Layerline."""
    options = _parser(program).parse_args(list(words))
    try:
        return _run(options, environ, tuple(tool))
    except (LayerlineError, OSError) as exc:
        sys.stderr.write(f"Error: {exc}\n")
        return COULD_NOT_RUN


def _run(options: argparse.Namespace, environ: Mapping[str, str], tool: tuple[str, ...]) -> int:
    if options.schema:
        sys.stdout.write(SCHEMA.read_text())
        return 0
    if options.list:
        sys.stdout.write("".join(f"{c.name:24}{c.severity.value:10}{c.title}\n" for c in CHECKS))
        return 0
    subject = _subject(options, environ, tool)
    if options.undo:
        return _carry_out(subject, undo_fixes(subject), options)
    if options.generate_script is not None:
        return _write_script(subject, options.generate_script)
    began = time.monotonic()
    outcomes = examine(subject, _chosen(options.check))
    if options.fix is not None:
        names = [name for name in options.fix if name != "all"]
        return _carry_out(subject, plan_fixes(subject, recommend_fixes(outcomes), names), options)
    fail_on = Severity(options.fail_on)
    if options.json:
        seconds = time.monotonic() - began
        text = as_json(outcomes, project=subject.project, fail_on=fail_on, seconds=seconds)
    else:
        colour = sys.stdout.isatty() and not environ.get("NO_COLOR")
        text = as_table(outcomes, colour=colour, verbose=options.verbose)
    sys.stdout.write(text)
    return status_of(outcomes, fail_on)


def _parser(program: str) -> argparse.ArgumentParser:
    about = "Say why container builds are slow or broken on this host, and repair what is safe."
    parser = argparse.ArgumentParser(prog=program, description=about, allow_abbrev=False)
    levels = [severity.value for severity in Severity]
    add = parser.add_argument
    add("--project", metavar="DIR", default=".", help="the project to look at (default: here)")
    add("--dockerfile", metavar="PATH", help="the Dockerfile, from the project's directory")
    add("--check", metavar="NAME", action="append", help="make only this check; may be repeated")
    add("--list", action="store_true", help="list the checks")
    add("--json", action="store_true", help="print a JSON document; --schema describes it")
    add("--schema", action="store_true", help="print the JSON schema of --json")
    add("--verbose", "-v", action="store_true", help="show also what is well and what was skipped")
    add(
        "--fail-on", choices=levels, default="high", help="exit with 1 from here on (default: high)"
    )
    add("--min-free", metavar="GB", type=float, help="disk space to ask for (default: 20)")
    add("--context-limit", metavar="MB", type=float, help="a large build context (default: 100)")
    names = ", ".join(REPAIRS)
    mend = f"repair what is safe, or only NAME ({names})"
    add("--fix", metavar="NAME", nargs="?", const="all", action="append", help=mend)
    add("--undo", action="store_true", help="take the doctor's blocks out of the files again")
    add("--dry-run", action="store_true", help="with --fix or --undo: only show what would be done")
    add("--yes", "-y", action="store_true", help="do not ask before running docker's commands")
    script = "write a script that builds with docker (default: build.sh, - is standard output)"
    add("--generate-script", metavar="PATH", nargs="?", const="build.sh", help=script)
    return parser


def _subject(
    options: argparse.Namespace, environ: Mapping[str, str], tool: tuple[str, ...]
) -> Subject:
    project = Path(options.project)
    if not project.is_dir():
        message = f"{project} is no directory. Name the project with --project."
        raise UsageError(message)
    if options.dockerfile is not None and not (project / options.dockerfile).is_file():
        message = f"{project / options.dockerfile} is no file; --dockerfile is meant from {project}"
        raise UsageError(message)
    unknown = [name for name in options.fix or () if name not in (*REPAIRS, "all")]
    if unknown:
        message = f"there is no repair {unknown[0]}; choose of: {', '.join(REPAIRS)}"
        raise UsageError(message)
    limits = Limits()
    if options.min_free is not None:
        limits = dataclasses.replace(limits, free=int(options.min_free * GB))
    if options.context_limit is not None:
        limits = dataclasses.replace(limits, context=int(options.context_limit * MB))
    return Subject.of(
        project,
        environ,
        dockerfile=options.dockerfile,
        limits=limits,
        tool=tool,
        tell=Progress(time.monotonic()).tell,
    )


def _chosen(names: Sequence[str] | None) -> Sequence[Check]:
    known = {check.name: check for check in CHECKS}
    for name in names or ():
        if name not in known:
            message = f"there is no check {name}; --list lists them"
            raise UsageError(message)
    return [known[name] for name in names] if names else CHECKS


def _carry_out(subject: Subject, plan: Plan, options: argparse.Namespace) -> int:
    if options.dry_run:
        sys.stdout.write((plan.shown() or "Nothing to change.") + "\n")
        return 0
    done = apply_fixes(subject, plan, agreed=lambda text: options.yes or _agreed(text))
    sys.stdout.write("\n".join(done or ["Nothing to change."]) + "\n")
    return 0


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        message = f"{question} There is no terminal to ask: give --yes."
        raise UsageError(message)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _write_script(subject: Subject, name: str) -> int:
    text = generate_build_script(subject)
    if name == "-":
        sys.stdout.write(text)
        return 0
    path = subject.project / name
    with path.open("x") as file:  # never over a script that is there
        file.write(text)
    path.chmod(path.stat().st_mode | _EXECUTABLE)
    sys.stdout.write(f"wrote {path}\n")
    return 0


class Progress:
    """Lines on standard error, once it takes longer than people wait without asking."""

    def __init__(self, began: float) -> None:
        self._next = began + _QUIET_SECONDS

    def tell(self, text: str) -> None:
        """Say what is being done, not too often."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _TELL_SECONDS
            sys.stderr.write(f"{text} …\n")
            sys.stderr.flush()
