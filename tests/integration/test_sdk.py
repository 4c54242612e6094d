"""Programs with the real SDK, in sessions that `run` gives them or that they start themselves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from layerline import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Project

pytestmark = pytest.mark.privileged

PROGRAM = """\
import sys
import anyio
import dagger
from dagger import dag

async def main():
    async with dagger.connection(dagger.Config(log_output=sys.stderr)):
        root = dag.host().directory("rootfs")
        box = dag.container().with_rootfs(root).with_env_variable("PATH", "/bin")
        print(await box.with_exec(["echo", "hello from a container"]).stdout(), end="")
        try:
            await box.with_exec(["sh", "-c", "echo why >&2; exit 7"]).sync()
        except dagger.ExecError as exc:
            print(exc.exit_code, exc.stderr)
            return exc.exit_code

sys.exit(anyio.run(main))
"""
ANSWER = "hello from a container\n7 why\n"


@pytest.fixture
def program(project: Project) -> Path:
    path = project.home / "program.py"
    path.write_text(PROGRAM)
    return path


def test_a_program_finds_the_session_that_it_is_run_in(project: Project, program: Path) -> None:
    done = project.call("run", "--", sys.executable, str(program))
    assert (done.stdout, done.status) == (ANSWER, 7), done.stderr
    assert "withExec echo 'hello from a container' DONE" in done.stderr


def test_a_program_starts_its_own_session(project: Project, program: Path) -> None:
    cli = project.home / "cli"
    words = " ".join(project.argv())
    cli.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    cli.chmod(0o755)
    done = command.run(
        [sys.executable, program],
        env={**project.environ, "_EXPERIMENTAL_DAGGER_CLI_BIN": str(cli)},
        cwd=project.home,
        timeout=60.0,
        expect=None,
    )
    assert (done.stdout.decode(), done.status) == (ANSWER, 7), done.stderr.decode()


def test_a_program_that_is_not_there(project: Project) -> None:
    done = project.call("run", "--", "nosuchprogram")
    assert done.error[0].startswith("Error: nosuchprogram is not on the PATH: ")
    assert done.status == 1
