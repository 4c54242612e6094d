"""`init`: a `layerline.toml` for the current repository, guessed from its files."""

from __future__ import annotations

import argparse
import csv
import io
import shlex
from typing import TYPE_CHECKING

from layerline.cli.scaffold.proposal import propose
from layerline.cli.scaffold.repository import find_projects, find_requirements
from layerline.doctor.dockerfile import find_dockerfiles
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.cli.scaffold.proposal import Proposal

FILE = "layerline.toml"
_ABOUT = (
    f"Write a {FILE} from what the repository has: pyproject.toml, setup.py, requirements*.txt, "
    "Pipfile, environment.yml, cog.yaml, Dockerfile. Report each guess and what is not taken over. "
    "An existing file is never changed."
)


def init(console: Console, argv: Sequence[str]) -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(
        prog=f"{console.program} init", description=_ABOUT, allow_abbrev=False
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the file")
    options = parser.parse_args(list(argv))
    home = console.workdir.resolve()
    proposal = _propose(home)
    if options.dry_run:
        console.print(proposal.text())
    else:
        try:
            with (home / FILE).open("x") as file:
                file.write(proposal.text())
        except FileExistsError as exc:
            message = f"{FILE} already exists: remove it first, or print the new one with --dry-run"
            raise UsageError(message) from exc
    console.info("\n".join(["Guessed:", *(f"  {note}" for note in proposal.notes)]))
    if proposal.left:
        console.info("\n".join(["Not taken over:", *(f"  {each}" for each in proposal.left)]))
    if not options.dry_run:
        console.info(_next(console.program, proposal))
    return 0


def _propose(home: Path) -> Proposal:
    """The proposal; where the requirements are those of projects inside, an error names these."""
    try:
        return propose(home, find_requirements(home), find_dockerfiles(home))
    except UsageError as exc:
        projects = find_projects(home)
        if not projects:
            raise
        message = f"the repository has several projects: run init in one of {', '.join(projects)}"
        raise UsageError(message) from exc


def _list_flag(words: Sequence[str]) -> str:
    """The value of a flag for a list: one record of CSV, as Dagger's flags are."""
    record = io.StringIO()
    csv.writer(record, lineterminator="").writerow(words)
    return record.getvalue()


def _next(program: str, proposal: Proposal) -> str:
    target, image = proposal.target, proposal.image
    if proposal.is_service:
        run = "up --use-entrypoint"
    else:
        args = shlex.quote(_list_flag(proposal.command))
        run = f"with-exec --use-entrypoint --args={args} stdout"
    return (
        f"Wrote {FILE}. Review it, then lock, build and run the image:\n"
        f"  {program} call lock --target={target} export --path=locks/{target}.txt\n"
        f"  {program} call build --image={image} export --path={image}.tar\n"
        f"  {program} call build --image={image} {run}"
    )
