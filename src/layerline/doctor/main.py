"""The doctor's command line: run checks, print results, repair.

Invariant: exit status 0 is healthy, 1 is findings at or above --fail-on, 2 that it could not run,
or that every check failed to run.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.argument_parser import ArgumentParser
from layerline.doctor.buildscript import generate_build_script
from layerline.doctor.catalogue import CHECKS
from layerline.doctor.finding import Check, Severity
from layerline.doctor.formatting import COULD_NOT_RUN, SCHEMA, exit_code, format_json, format_table
from layerline.doctor.repairs import REPAIRS, Plan, apply_fixes, plan_fixes, undo_fixes
from layerline.doctor.runner import rank_findings, run_checks
from layerline.doctor.subject import GB, MB, Limits, Subject
from layerline.errors import LayerlineError, UsageError
from layerline.prompt import confirm
from layerline.suggestion import did_you_mean, what_instead

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_QUIET_SECONDS = 1.0
_INTERVAL_SECONDS = 0.5
_EXECUTABLE = 0o111


def run_doctor(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    program: str = "layerline doctor",
    tool: Sequence[str] = (),
) -> int:
    """Run the doctor's command line; the exit status. `tool` begins a command line of Layerline."""
    try:
        options = _parser(program).parse_args(list(argv))
        return _execute(options, environ, tuple(tool))
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        sys.stderr.write(f"Error: {where}{(exc.strerror or str(exc)).lower()}\n")
        return COULD_NOT_RUN
    except LayerlineError as exc:
        sys.stderr.write(f"Error: {exc}\n")
        if isinstance(exc, UsageError) and exc.usage is not None:
            sys.stderr.write(f"Run '{exc.usage} --help' for usage.\n")
        return COULD_NOT_RUN


def _execute(options: argparse.Namespace, environ: Mapping[str, str], tool: tuple[str, ...]) -> int:
    if options.schema:
        sys.stdout.write(SCHEMA.read_text())
        return 0
    if options.list:
        sys.stdout.write("".join(f"{c.name:24}{c.severity.value:10}{c.title}\n" for c in CHECKS))
        return 0
    subject = _subject(options, environ, tool)
    if options.undo:
        return _apply(subject, undo_fixes(subject), options)
    if options.generate_script is not None:
        return _write_script(subject, options.generate_script)
    began = time.monotonic()
    results = run_checks(subject, _select_checks(options.check))
    if options.fix is not None:
        names = [name for name in options.fix if name != "all"]
        return _apply(subject, plan_fixes(subject, rank_findings(results), names), options)
    fail_on = Severity(options.fail_on)
    if options.json:
        seconds = time.monotonic() - began
        text = format_json(results, project=subject.project, fail_on=fail_on, seconds=seconds)
    else:
        colour = sys.stdout.isatty() and not environ.get("NO_COLOR")
        text = format_table(results, colour=colour, verbose=options.verbose)
    sys.stdout.write(text)
    return exit_code(results, fail_on)


def _parser(program: str) -> ArgumentParser:
    about = "Diagnose and repair this machine."
    parser = ArgumentParser(prog=program, description=about)
    levels = [severity.value for severity in Severity]
    add = parser.add_argument
    add("--project", metavar="DIR", default=".", help="project directory (default: .)")
    add("--dockerfile", metavar="PATH", help="Dockerfile, relative to the project")
    add("--check", metavar="NAME", action="append", help="only run this check; may be repeated")
    add("--list", action="store_true", help="list the checks")
    add("--json", action="store_true", help="print a JSON document; --schema describes it")
    add("--schema", action="store_true", help="print the JSON schema of --json")
    add("--verbose", "-v", action="store_true", help="also show checks that passed or were skipped")
    add(
        "--fail-on",
        choices=levels,
        default="high",
        help="least severity that exits with 1 (default: high)",
    )
    add("--min-free", metavar="GB", type=float, help="required disk space (default: 20)")
    add(
        "--context-limit",
        metavar="MB",
        type=float,
        help="size of a large build context (default: 100)",
    )
    names = ", ".join(REPAIRS)
    fix = f"repair what is safe, or only NAME ({names})"
    add("--fix", metavar="NAME", nargs="?", const="all", action="append", help=fix)
    add("--undo", action="store_true", help="remove the doctor's blocks from ignore files")
    add("--dry-run", action="store_true", help="with --fix or --undo: only show the changes")
    add("--yes", "-y", action="store_true", help="run docker commands without confirmation")
    script = "write a script that builds with docker (default: build.sh, - is standard output)"
    add("--generate-script", metavar="PATH", nargs="?", const="build.sh", help=script)
    return parser


def _subject(
    options: argparse.Namespace, environ: Mapping[str, str], tool: tuple[str, ...]
) -> Subject:
    project = Path(options.project)
    if not project.is_dir():
        message = f"{project} is not a directory: name the project with --project"
        raise UsageError(message)
    if options.dockerfile is not None and not (project / options.dockerfile).is_file():
        message = (
            f"{project / options.dockerfile} is not a file: --dockerfile is relative to {project}"
        )
        raise UsageError(message)
    unknown = [name for name in options.fix or () if name not in (*REPAIRS, "all")]
    if unknown:
        message = f"unknown repair '{unknown[0]}'{what_instead(unknown[0], REPAIRS)}"
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
        on_progress=Progress(time.monotonic()).show,
    )


def _select_checks(names: Sequence[str] | None) -> Sequence[Check]:
    known = {check.name: check for check in CHECKS}
    for name in names or ():
        if name not in known:
            hint = did_you_mean(name, known) or ": list checks with --list"
            message = f"unknown check '{name}'{hint}"
            raise UsageError(message)
    return [known[name] for name in names] if names else CHECKS


def _apply(subject: Subject, plan: Plan, options: argparse.Namespace) -> int:
    if options.dry_run:
        sys.stdout.write((plan.describe() or "nothing to change") + "\n")
        return 0
    done = apply_fixes(subject, plan, confirm=lambda text: options.yes or _confirm(text))
    sys.stdout.write("\n".join(done or ["nothing to change"]) + "\n")
    return 0


def _confirm(question: str) -> bool:
    answer = confirm(question)
    if answer is None:
        message = f"{question} Cannot ask without a terminal: use --yes"
        raise UsageError(message)
    return answer


def _write_script(subject: Subject, name: str) -> int:
    text = generate_build_script(subject)
    if name == "-":
        sys.stdout.write(text)
        return 0
    path = subject.project / name
    try:
        with path.open("x") as file:  # an existing script is not overwritten
            file.write(text)
    except FileExistsError as exc:
        message = f"{path} already exists: remove it first, or name another file"
        raise UsageError(message) from exc
    path.chmod(path.stat().st_mode | _EXECUTABLE)
    sys.stdout.write(f"wrote {path}\n")
    return 0


class Progress:
    """Lines on standard error, once a run takes longer than a second."""

    def __init__(self, began: float) -> None:
        self._next = began + _QUIET_SECONDS

    def show(self, text: str) -> None:
        """Print what is being done, at most twice a second."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL_SECONDS
            sys.stderr.write(f"{text} …\n")
            sys.stderr.flush()
