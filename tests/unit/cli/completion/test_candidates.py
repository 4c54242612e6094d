"""What command lines can be completed to, and the scripts with which shells ask."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sys
import time
from pathlib import Path

import pytest

from layerline import command
from layerline.cli.main import run_command_line
from layerline.settings import process_environ

HOME = Path(__file__).parents[4]
PROGRAM = "from layerline.cli.main import main; main()"
LONGEST_SECONDS = 60.0


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["sto"], "store\tInspect, verify and prune the store\n:0\n"),
        (["-s", "vers"], "version\tPrint the versions of Layerline and of its API\n:0\n"),
        (["--auto"], "--auto-apply\tAutomatically apply changes when a\n:4\n"),
        (["-m", ""], ":0\n"),
        (["store", "volu"], None),
        (["store", "prune", "--dry"], "--dry-run\tshow what would be removed\n:4\n"),
        (["store", "prune", "--keep-storage", ""], ":0\n"),
        (["completion", ""], "bash\nfish\npowershell\nzsh\n:4\n"),
        (["completion", "bash", ""], ":4\n"),
        (["core", "cache-v"], "cache-volume\n:4\n"),
        (["core", "container", "from", "--addr"], "--address\n:4\n"),
        (["core", "container", "from", "--address", ""], ":0\n"),
        (["core", "container", "from", "--address=x", "with-reg"], "with-registry-auth\n:4\n"),
        (
            ["core", "container", "with-exposed-port", "--protocol", ""],
            "TCP\nUDP\n:4\n",
        ),
        (["core", "nothing", ""], ":0\n"),
        (["call", "-M", "directory", "with-new-f"], "with-new-file\n:4\n"),
        (["nothing", ""], ":0\n"),
    ],
)
def test_candidates(
    argv: list[str], answer: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["__complete", *argv]) == 0
    printed = capsys.readouterr().out
    if answer is None:
        assert [line.partition("\t")[0] for line in printed.splitlines()] == [
            *("volumes", "volume", ":4"),
        ]
    else:
        assert printed == answer


@pytest.mark.parametrize(("argv", "word"), [(["csh"], "csh"), (["bash", "more"], "more")])
def test_an_unknown_shell_is_an_error(
    argv: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["completion", *argv]) == 1
    wanted = f'Error: unknown command "{word}" for "layerline completion"'
    assert capsys.readouterr().err.startswith(wanted)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has `layerline` on the path, and the scripts in a file each."""
    program = tmp_path / "bin" / "layerline"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    known = process_environ()
    return {
        "PATH": f"{program.parent}:{known['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(HOME / "src"),
        "TERM": "xterm",
        "LAYERLINE_STORE": str(tmp_path / "store"),
    }


LINES = [("layerline sto", "store"), ("layerline core cache-v", "cache-volume")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("line", "word"), [*LINES, ("layerline -m b", "bin")])
def test_in_bash(environ: dict[str, str], tmp_path: Path, line: str, word: str) -> None:
    script = (
        "source <(layerline completion bash); COMP_LINE=$1; COMP_POINT=${#1}; "
        '__layerline_complete; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    argv = ["bash", "-c", script, "bash", line]
    assert command.run(argv, env=environ, cwd=tmp_path).stdout.decode() == f"{word}\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("line", "word"), [*LINES, ("layerline -m b", "bin/")])
def test_in_fish(environ: dict[str, str], tmp_path: Path, line: str, word: str) -> None:
    argv = ["fish", "-c", f"layerline completion fish | source; complete -C '{line}'"]
    printed = command.run(argv, env=environ, cwd=tmp_path).stdout.decode()
    assert [each.partition("\t")[0] for each in printed.splitlines()] == [word]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(("line", "word"), LINES)
def test_in_zsh(environ: dict[str, str], tmp_path: Path, line: str, word: str) -> None:
    """At a terminal, as zsh completes nowhere else."""
    begin = "autoload -U compinit; compinit -u -D; source <(layerline completion zsh)\n"
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-f", "-i"], environ)
    try:
        os.write(terminal, (begin + "echo be''gun\n").encode())
        _wait_for(terminal, b"begun")
        os.write(terminal, f"{line}\t".encode())
        _wait_for(terminal, word.rpartition("-")[2].encode()[-3:])
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def _wait_for(terminal: int, until: bytes) -> None:
    seen = b""
    deadline = time.monotonic() + LONGEST_SECONDS
    while until not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 0.5)[0]:
            seen += os.read(terminal, 4096)
