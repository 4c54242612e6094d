"""SDKs from the registries, each in a throw-away environment, and a directory to use them in."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.errors import CommandFailed
from layerline.settings import process_environ
from tests.integration.conftest import SOURCE, Call, Project, busybox_root, environ

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["busybox_root", "environ"]

PROGRAMS = Path(__file__).parent / "programs"
UV = Path(sys.executable).with_name("uv")
SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A directory with a root file system, a store, and the variables that lead to the tool."""

    project: Project

    @property
    def variables(self) -> dict[str, str]:
        """The environment for a program that must not see the tool's own packages."""
        hidden = ("PYTHONPATH", "DAGGER_SESSION_PORT", "DAGGER_SESSION_TOKEN")
        return {k: v for k, v in self.project.environ.items() if k not in hidden}

    def run(self, *program: str | Path, **more: str) -> Call:
        """Run a program with `layerline run`."""
        plain = ["env", "-u", "PYTHONPATH", *map(str, program)]
        return self.project.call("run", "--silent", "--", *plain, env=more, timeout=SECONDS)

    def provision(self, *program: str | Path) -> command.Finished:
        """Run a program that starts its own session, with the tool for Dagger's CLI."""
        cli = self.project.home / "cli"
        argv = " ".join(self.project.argv())
        cli.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {argv} "$@"\n')
        cli.chmod(0o755)
        variables = {**self.variables, "_EXPERIMENTAL_DAGGER_CLI_BIN": str(cli)}
        return command.run(
            list(program), env=variables, cwd=self.project.home, timeout=SECONDS, expect=None
        )


@pytest.fixture
def desk(tmp_path: Path, busybox_root: Path, environ: Mapping[str, str]) -> Desk:
    shutil.copytree(busybox_root, tmp_path / "rootfs", symlinks=True)
    return Desk(project=Project(home=tmp_path, environ=environ))


def python_sdk(place: Path, version: str) -> Path:
    """Install a version of dagger-io; returns the Python that has it."""
    python = place / "venv/bin/python"
    variables = process_environ()
    command.run(
        [UV, "venv", "--quiet", "--no-project", "--python", sys.executable, place / "venv"],
        env=variables,
    )
    install = ("pip", "install", "--quiet", "--prerelease=allow", "--python", str(python))
    command.run([UV, *install, f"dagger-io=={version}"], env=variables, timeout=SECONDS)
    return python


def typescript_sdk(place: Path, version: str) -> Path:
    """Install a version of @dagger.io/dagger; returns node. Skips where they cannot be had."""
    node, npm = command.find("node"), command.find("npm")
    if node is None or npm is None:
        pytest.skip("Node or npm is not installed")
    variables = process_environ()
    package = f"@dagger.io/dagger@{version}"
    try:
        viewed = command.run([npm, "view", package, "engines.node"], env=variables, timeout=60.0)
    except CommandFailed as exc:
        pytest.skip(f"no npm registry answers: {exc}")
    wanted = viewed.stdout.decode().strip()
    has = command.run([node, "--version"]).stdout.decode().strip()
    least = re.fullmatch(r">=(\d+)", wanted)
    if least is None or int(least[1]) > int(has.removeprefix("v").partition(".")[0]):
        pytest.skip(f"{package} wants Node {wanted}, this is {has}")
    (place / "package.json").write_text(json.dumps({"private": True}))
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel=error")
    command.run([npm, "install", *quiet, package], env=variables, cwd=place, timeout=SECONDS)
    return node
