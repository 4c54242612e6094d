"""An ordinary user runs the tests: of the engine's parts as root of a user namespace."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.ordinary_user import ordinary_user

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("container_user")
def test_tests_are_skipped_for_what_they_need_alone() -> None:
    # Owners need root; devices and the stores of two users need that of the machine.
    files = ("store/test_rmtree.py", "store/test_ownership.py", "image/test_bootstrap.py")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with ordinary_user() as user:
        done = command.run(
            user.argv([*argv, *(f"tests/unit/{file}" for file in files)]),
            env=user.environ(process_environ()),
            cwd=ROOT,
            expect=None,
        )
        left = [path for path in (user.home / "tmp").rglob("*") if path.stat().st_uid != user.uid]
    said = done.stdout.decode()
    assert done.status == 0, said
    skipped = set(re.findall(r"^SKIPPED \[\d+\] \S+: (.*)$", said, re.MULTILINE))
    assert {"not root", "no device nodes: Operation not permitted"} <= skipped
    assert not any("test_rmtree" in line for line in said.splitlines())
    assert left == []  # pytest removes its directories some runs later
