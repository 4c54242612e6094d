"""A session for another program, and a query, as a shell gets them."""

from __future__ import annotations

import base64
import json
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from layerline import command

pytestmark = pytest.mark.privileged

PROGRAM = "from layerline.cli.main import main; main()"
SOURCE = Path(__file__).parents[4] / "src"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    home = {"HOME": str(tmp_path), "LAYERLINE_STORE": str(tmp_path / "store")}
    return {**home, "PYTHONPATH": str(SOURCE), "OWN": "kept"}


def layerline(environ: dict[str, str], *argv: str, stdin: bytes = b"") -> command.Finished:
    program = [sys.executable, "-c", PROGRAM]
    return command.run([*program, *argv], env=environ, stdin=stdin, expect=None)


def ask_version(port: object, token: str) -> object:
    secret = base64.b64encode(f"{token}:".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/query",
        data=b'{"query": "{ version }"}',
        headers={"Authorization": f"Basic {secret}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["data"]["version"]


def test_a_query_from_standard_input(environ: dict[str, str]) -> None:
    done = layerline(environ, "query", "-s", stdin=b"{ version }")
    assert (done.status, json.loads(done.stdout)) == (0, {"version": "v0.21.8"}), done.stderr


def test_an_operation_with_variables_from_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    query = 'query One($c: String!) { file(name: "a", contents: $c) { contents } }'
    (tmp_path / "q.graphql").write_text(f"{query} query Two {{ version }}")
    argv = ("query", "-s", f"--doc={tmp_path}/q.graphql", "--var=c=x=y", "One")
    assert json.loads(layerline(environ, *argv).stdout) == {"file": {"contents": "x=y"}}


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--var=x"], "invalid value 'x' for --var: use NAME=VALUE"),
        (["--var-json=["], "invalid value '[' for --var-json: use a JSON object"),
        (["more"], r"Unknown operation named \"more\""),
        (["more", "other"], "accepts at most 1 arg(s), received 2"),
    ],
)
def test_a_wrong_query_is_an_error(environ: dict[str, str], argv: list[str], reason: str) -> None:
    done = layerline(environ, "query", *argv, stdin=b"{ version }")
    assert done.status == 1
    assert reason in done.stderr.decode()


def test_a_program_finds_its_session_and_gives_its_status(environ: dict[str, str]) -> None:
    script = 'echo "$OWN ${DAGGER_SESSION_PORT:+port} ${DAGGER_SESSION_TOKEN:+token}"; exit 3'
    done = layerline(environ, "run", "-s", "--", "sh", "-c", script)
    assert (done.status, done.stdout) == (3, b"kept port token\n")


def test_a_program_that_is_killed_has_the_shells_status(environ: dict[str, str]) -> None:
    assert layerline(environ, "run", "-s", "sh", "-c", "kill -9 $$").status == 128 + signal.SIGKILL


def test_a_program_that_does_not_exist_is_named(environ: dict[str, str]) -> None:
    done = layerline(environ, "run", "-s", "no-such-program")
    assert done.status == 1
    assert done.stderr.startswith(b"Error: no-such-program is not on the PATH")


def test_a_session_is_printed_in_one_line_and_lasts_as_long_as_its_input(
    environ: dict[str, str],
) -> None:
    argv = [sys.executable, "-c", PROGRAM, "session", "--label=a:b", "--version=1"]
    with command.start(argv, env=environ, stdin=command.PIPE, stdout=command.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        assert ask_version(printed["port"], printed["session_token"]) == "v0.21.8"
        process.stdin.close()
        assert process.wait(10) == 0
