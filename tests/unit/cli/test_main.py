"""Dispatch to commands, and what `layerline` itself prints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.cli.main import run_command_line
from layerline.settings import process_environ

SOURCE = Path(__file__).parents[3] / "src"


def test_version_is_a_command_and_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["version"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("layerline ")
    for argv in (["--version"], ["-s", "--version"], ["--version", "call"]):
        assert run_command_line(argv) == 0
        assert capsys.readouterr().out == printed


def test_a_command_does_not_have_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["query", "--version"]) == 1
    assert capsys.readouterr().err.startswith("Error: unknown flag: --version\n")


@pytest.mark.parametrize("argv", [[], ["help"], ["--help"]])
def test_help_lists_the_commands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(argv) == 0
    printed = capsys.readouterr().out
    assert "  doctor        Diagnose and repair this machine\n" in printed
    assert "--version" in printed


def test_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["nothing"]) == 1
    wanted = 'Error: unknown command or file "nothing" for "layerline"\n'
    assert capsys.readouterr().err.startswith(wanted)


def test_a_mistyped_command_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    # https://github.com/dagger/dagger/blob/v0.21.8/core/integration/shell_test.go (TestScriptMode)
    assert run_command_line(["qery"]) == 1
    wanted = 'unknown command or file "qery" for "layerline"\n\nDid you mean this?\n\tquery\n'
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("listen", "no session outlives its command"),
        ("mcp", "no language models"),
        ("login", "no account"),
        ("trace", "no traces are recorded"),
        ("engine", "part of this program"),
    ],
)
def test_a_command_that_cannot_be_is_refused_with_the_reason(
    command: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([command]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'Error: command "{command}" is not supported: ')
    assert reason in error


def test_checks_is_another_name_of_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["checks", "--help"]) == 0
    assert "layerline check [options] [pattern]..." in capsys.readouterr().out


def test_a_call_from_the_store_imports_no_graphql() -> None:
    """It takes longer than everything else that a remembered call does."""
    asks = "import sys, layerline.cli.commands.call; sys.exit('graphql' in sys.modules)"
    environ = {**process_environ(), "PYTHONPATH": str(SOURCE)}
    assert command.run([sys.executable, "-c", asks], env=environ, expect=None).status == 0


def test_nothing_looks_for_garbage_when_the_process_ends() -> None:
    # Functions that are registered last are run first.
    code = (
        "import atexit, gc, sys; from layerline.cli.main import main; "
        "atexit.register(lambda: print(gc.get_freeze_count() > len(gc.get_objects()))); "
        "sys.argv = ['layerline', '--version']; main()"
    )
    said = command.run([sys.executable, "-c", code], env=process_environ()).stdout.decode()
    assert said.endswith("True\n")
