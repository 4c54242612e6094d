"""Every recorded answer of the Dagger engine, asked again of `layerline session`.

The vectors in `own` are not recorded: they pin what is right by the meaning of the calls.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command

if TYPE_CHECKING:
    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

HERE = Path(__file__).parent / "conformance"
LONGEST_SECONDS = 900.0


def test_every_vector_passes(command_line: CommandLine, bases: str) -> None:
    number = sum(len(json.loads(path.read_text())["vectors"]) for path in HERE.rglob("*.json"))
    assert number > 400
    own = shlex.join([*command_line.words, "session"])
    done = command.run(
        [
            sys.executable,
            HERE / "run.py",
            HERE,
            HERE / "next",
            HERE / "own",
            "--session-command",
            own,
            "--registry",
            bases,
        ],
        env=command_line.environ,
        timeout=LONGEST_SECONDS,
        expect=None,
    )
    lines = done.stdout.decode().splitlines()
    problems = "\n".join(line for line in lines if line.startswith("FAIL"))
    assert lines[-1] == f"{number} passed, 0 failed", problems or done.stderr.decode()[-2000:]
    assert not any(line.endswith(" skipped") and line[0].isdigit() for line in lines)
    assert done.status == 0
