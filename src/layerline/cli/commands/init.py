"""`init`: a `layerline.toml` for the current repository, guessed from its files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from layerline.cli.scaffold.proposal import propose
from layerline.cli.scaffold.requirements import find_requirements
from layerline.doctor.dockerfile import find_dockerfiles
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console

FILE = "layerline.toml"
_ABOUT = (
    f"Write a {FILE} from the repository's pyproject.toml, requirements*.txt and Dockerfile, and "
    "report each guess. An existing file is never changed."
)


def init(console: Console, argv: Sequence[str]) -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(
        prog=f"{console.program} init", description=_ABOUT, allow_abbrev=False
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the file")
    options = parser.parse_args(list(argv))
    home = console.workdir.resolve()
    proposal = propose(home.name, find_requirements(home), find_dockerfiles(home))
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
    if not options.dry_run:
        console.info(_next(console.program, proposal.target, proposal.image))
    return 0


def _next(program: str, target: str, image: str) -> str:
    lock = f"{program} call lock --target={target} export --path=locks/{target}.txt"
    return (
        f"Wrote {FILE}. Review it, then run\n  {lock}\n"
        f"  {program} call build --image={image} export --path={image}.tar"
    )
