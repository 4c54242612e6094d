"""Progress lines carry a time, the step's number, its output and how it ended."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from layerline.cli.display.progress import (
    KEPT_LOGS,
    CallLog,
    PlainLines,
    debug_lines,
    without_terminal,
)
from layerline.log import Journal, Status, debug

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_TIME = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} ")


def lines_of(written: list[str]) -> list[str]:
    tell = "".join(written).splitlines(keepends=True)
    assert all(_TIME.match(line) for line in tell)
    return [_TIME.sub("", line) for line in tell]


def test_a_step_shows_its_beginning_its_output_by_line_and_its_end() -> None:
    lines: list[str] = []
    journal = Journal(listeners=[PlainLines(lines.append)])
    with journal.step("withExec make") as step:
        step.write(b"one\ntw")
        step.write(b"o\nrest")
    assert lines_of(lines) == [
        "1   : withExec make\n",
        "1   : [0.0s] | one\n",
        "1   : [0.0s] | two\n",
        "1   : [0.0s] | rest\n",
        "1   : withExec make DONE [0.0s]\n",
    ]


def test_a_line_without_end_is_shown_in_parts() -> None:
    lines: list[str] = []
    journal = Journal(listeners=[PlainLines(lines.append)])
    with journal.step("a") as step:
        for _ in range(48):
            step.write(b"x" * 65536)
    _, *parts, _ = lines_of(lines)
    assert len(parts) == 3
    assert sum(part.count("x") for part in parts) == 48 * 65536
    assert max(map(len, parts)) < 1.1 * (1 << 20)


def test_a_flood_of_short_lines_is_shown_without_growing() -> None:
    lines: list[str] = []
    journal = Journal(listeners=[PlainLines(lines.append)])
    with journal.step("a") as step:
        step.write(b"y\n" * 32768)
        step.write(b"one\ntwo\n")
    written = "".join(lines)
    assert written.count("y\n") == 32768
    assert len(written) < 3 * 65536
    assert lines_of(lines[-2:])[0] == "1   : [0.0s] | one\n"


def test_what_ends_at_once_takes_one_line() -> None:
    lines: list[str] = []
    journal = Journal(listeners=[PlainLines(lines.append)])
    journal.step("sample").end(Status.CACHED)
    assert lines_of(lines) == ["1   : sample CACHED [0.0s]\n"]


def test_an_error_says_why() -> None:
    lines: list[str] = []
    journal = Journal(listeners=[PlainLines(lines.append)])
    journal.step("a").end(Status.ERROR, "exit code: 7")
    assert lines_of(lines) == ["1   : a ERROR [0.0s]\n", "1   : ! exit code: 7\n"]


def progress_lines(progress: str, verbosity: int = 0) -> list[str]:
    """What is printed of a step with output, and of one that fails at once."""
    lines: list[str] = []
    journal = Journal(listeners=[without_terminal(progress, lines.append, verbosity)])
    with journal.step("make") as step:
        step.write(b"one\n")
    journal.step("check").end(Status.ERROR, "wrong")
    return lines if progress == "dots" else lines_of(lines)


def test_formats_for_files_and_pipes() -> None:
    begin, output, end = "1   : make\n", "1   : [0.0s] | one\n", "1   : make DONE [0.0s]\n"
    failed = ["2   : check ERROR [0.0s]\n", "2   : ! wrong\n"]
    assert progress_lines("plain") == [begin, output, end, *failed]
    assert progress_lines("plain", 1) == [begin, output, end, "2   : check\n", *failed]
    assert progress_lines("plain", -1) == [end, *failed]
    assert progress_lines("logs") == [begin, output]
    assert progress_lines("report") == [end, *failed]
    assert progress_lines("dots") == [".", "X"]


def test_debug_lines_are_shown_while_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("layerline").setLevel(logging.DEBUG)
    with debug_lines():
        debug("tried %s", "it")
    debug("later")
    said = capsys.readouterr().err
    assert said.endswith("DEBUG tried it\n")


def test_old_logs_make_room(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in range(KEPT_LOGS + 5):
        (logs / f"2000{number:04}.log").touch()
    log = CallLog.begin(tmp_path, "layerline call x")
    log.file.close()
    assert len(list(logs.iterdir())) == KEPT_LOGS
    assert "layerline call x" in log.path.read_text()
