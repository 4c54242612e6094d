"""`init`: a `layerline.toml` for the current repository, guessed from its files, or a module."""

from __future__ import annotations

import csv
import io
import shlex
from typing import TYPE_CHECKING

from layerline.cli.commands.flag_parsing import (
    add_switch,
    add_text_flag,
    parse_operands,
    print_help,
)
from layerline.cli.flags import FlagSet, parse_list
from layerline.cli.invocation import invocation
from layerline.cli.manage.license_file import DEFAULT, check_license
from layerline.cli.scaffold.proposal import propose
from layerline.cli.scaffold.repository import find_projects, find_requirements
from layerline.doctor.dockerfile import find_dockerfiles
from layerline.engine import write_errors
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.cli.console import Console
    from layerline.cli.scaffold.proposal import Proposal

FILE = "layerline.toml"
_ABOUT = f"""Write a {FILE} from what the repository has: pyproject.toml, setup.py,
requirements*.txt, Pipfile, environment.yml, cog.yaml, Dockerfile. Report each guess
and what is not taken over. An existing file is never changed.

With a path or any option of a module, create a Dagger module instead, as 'dagger init'
does."""


def init(console: Console, argv: Sequence[str]) -> int:
    """Write the file, or a new module where the arguments ask for one."""
    path = f"{console.program} init"
    flags, module = FlagSet((console.flags,)), FlagSet()
    dry_run = add_switch(flags, "dry-run", "Only print the layerline.toml")
    _add_module_flags(module)
    flags.flags.update(module.flags)
    operands = parse_operands(flags, argv, path)
    if console.options.help:
        print_help(console, about=_ABOUT, path=path, use="[options] [path]", local=flags)
        return 0
    if len(operands) > 1:
        message = f"accepts at most 1 arg(s), received {len(operands)}"
        raise UsageError(message, usage=path)
    if operands or any(flag.changed for flag in module.flags.values()):
        if dry_run.value:
            message = "--dry-run is for a layerline.toml, not for a module"
            raise UsageError(message, usage=path)
        _create_module(console, module, operands[0] if operands else ".", path)
        return 0
    return _write_definition(console, dry_run=bool(dry_run.value))


def _add_module_flags(flags: FlagSet) -> None:
    for name, usage in (
        ("sdk", "Create a Dagger module with this SDK (python)"),
        ("name", "Create a Dagger module with this name; by default that of its directory"),
        ("source", "Directory of the module's code, if not its root"),
        ("blueprint", "Create a Dagger module that is another one under a name of its own"),
        ("license", "License to write (SPDX), or none if empty"),
    ):
        add_text_flag(flags, name, usage=usage)
    flags.flags["license"].default = DEFAULT
    include = add_text_flag(flags, "include", usage="More paths that the module consists of")
    include.kind, include.parse, include.repeated = "stringSlice", parse_list(str), True
    add_switch(flags, "with-self-calls", "Let the module call its own functions (experimental)")


def _create_module(console: Console, module: FlagSet, place: str, path: str) -> None:
    from layerline.cli.manage.new_module import NewModule

    given = {name: flag.value for name, flag in module.flags.items() if flag.changed}
    license_name = given.get("license")
    check_license(license_name or "", path)
    NewModule(
        path=place,
        name=given.get("name", ""),
        sdk=given.get("sdk", ""),
        source=given.get("source", ""),
        blueprint=given.get("blueprint", ""),
        include=tuple(given.get("include", ())),
        license=license_name,
        self_calls=bool(given.get("with-self-calls")),
    ).create(console)


def _write_definition(console: Console, *, dry_run: bool) -> int:
    """Propose the images of this repository."""
    home = console.workdir.resolve()
    proposal = _propose(home)
    if dry_run:
        console.print(proposal.text())
    else:
        if (home / FILE).exists():
            message = f"{FILE} already exists: remove it first, or print the new one with --dry-run"
            raise UsageError(message)
        failure = f"failed to write {home / FILE}"
        with write_errors(failure, home / FILE), (home / FILE).open("x") as file:
            file.write(proposal.text())
    console.info("\n".join(["Guessed:", *(f"  {note}" for note in proposal.notes)]))
    if proposal.left:
        console.info("\n".join(["Not taken over:", *(f"  {each}" for each in proposal.left)]))
    if not dry_run:
        program = invocation(console.program, console.settings.environ)
        console.info(_next(program, proposal))
        console.info(f"For a Dagger module instead: {program} init --sdk=python")
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
