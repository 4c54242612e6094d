"""Progress on a terminal: steps come, scroll away and leave what was asked for."""

from __future__ import annotations

import os
import pty
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.display.test_otlp import collector, spans_of

if TYPE_CHECKING:
    from tests.cli.conftest import Place

pytestmark = pytest.mark.privileged

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"
COPY = ("core", "directory", "with-new-file", "--path=a", "--contents=x", "file", "--path=a")


@pytest.fixture
def extras(extras: Place) -> Place:
    """The module, and a user with a terminal that can be drawn on."""
    return replace(extras, environ={**extras.environ, "TERM": "xterm"})


def on_terminal(place: Place, *args: str, keys: bytes = b"") -> tuple[bytes, int]:
    """All that a command shows on a terminal, and how it ended."""
    argv = place.argv(*args)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(place.workdir)
        os.execve(argv[0], argv, {"COLUMNS": "100", **place.environ})
    seen = b""
    try:
        while shown := os.read(terminal, 4096):
            seen += shown
            if keys and b"Press Enter" in seen:
                os.write(terminal, keys)
                keys = b""
    except OSError:  # the last process that had the terminal is gone
        pass
    os.close(terminal)
    return seen, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_steps_are_drawn_and_leave_a_line(extras: Place) -> None:
    seen, status = on_terminal(extras, *COPY, "contents")
    assert status == 0, seen
    assert HIDE_CURSOR in seen
    assert seen.index(HIDE_CURSOR) < seen.index(SHOW_CURSOR)
    assert b"withNewFile /a" in seen
    assert seen.rstrip().endswith(b"x")  # the result comes last, below what was drawn


@pytest.mark.parametrize("flag", ["-s", "-qq"])
def test_nothing_is_drawn_when_nothing_is_wanted(extras: Place, flag: str) -> None:
    seen, status = on_terminal(extras, *COPY, "size", flag)
    assert (seen, status) == (b"1\r\n", 0)


def test_quiet_cleans_up(extras: Place) -> None:
    seen, status = on_terminal(extras, *COPY, "contents", "-q")
    assert status == 0
    assert HIDE_CURSOR in seen
    assert b"done" not in seen
    assert b"cached" not in seen


@pytest.mark.parametrize("variable", [{"CI": "true"}, {"TERM": "dumb"}])
def test_lines_are_written_where_nobody_watches(extras: Place, variable: dict[str, str]) -> None:
    """GitHub, GitLab and others set CI; some of them give a job a terminal."""
    extras = replace(extras, environ={**extras.environ, **variable})
    seen, status = on_terminal(extras, *COPY, "contents")
    assert status == 0
    assert b"\x1b[" not in seen
    assert re.search(rb"\d\d:\d\d:\d\d\.\d{3} \d+ +: withNewFile /a (DONE|CACHED)", seen)


def test_steps_go_to_the_collector_that_the_environment_names(extras: Place) -> None:
    with collector() as (endpoint, bodies):
        done = extras.call(*COPY, "contents", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        assert done.status == 0
        sent = len(bodies)
        quiet = replace(extras, environ={**extras.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
        done = quiet.call(*COPY, "contents", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
        assert b"'grpc' is not supported, use 'http/protobuf'" in done.stderr
        assert quiet.call(*COPY, "contents", OTEL_TRACES_EXPORTER="none").status == 0
        assert quiet.call(*COPY, "contents", OTEL_SDK_DISABLED="true").status == 0
    assert {"layerline core", "withNewFile /a"} <= spans_of(bodies).keys()
    assert len(bodies) == sent


def test_no_exit_waits_for_the_user(extras: Place) -> None:
    seen, status = on_terminal(extras, *COPY, "contents", "-E", keys=b"\n")
    assert status == 0
    assert seen.index(b"Press Enter to exit.") < seen.rindex(b"x")


def test_no_exit_without_a_terminal_is_refused(extras: Place) -> None:
    done = extras.call(*COPY, "contents", "-E")
    assert done.status == 1
    assert done.stderr.startswith(b"Error: --no-exit (-E) requires progress on a terminal: ")
