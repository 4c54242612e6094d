"""An ordinary user runs the tests: of the engine's parts as root of a user namespace.

Whoever runs them and kills them finds none of their mounts.
"""

from __future__ import annotations

import re
import signal
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


MOUNTING = """
import os, signal
from layerline import kernel

def test_a_mount(tmp_path):
    kernel.mount("tmpfs", tmp_path, "tmpfs")
    assert str(tmp_path) in open("/proc/self/mountinfo").read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("machine_root", "mounts")
def test_a_killed_test_leaves_no_mount(tmp_path: Path) -> None:
    (tmp_path / "test_mounting.py").write_text(MOUNTING)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.engine_process", "test_mounting.py"]
    environ = {**process_environ(), "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    base = tmp_path / "base"
    done = command.run([*argv, f"--basetemp={base}"], env=environ, cwd=tmp_path, expect=None)
    assert done.status == -signal.SIGKILL, done.stdout
    assert str(base) not in Path("/proc/self/mountinfo").read_text()
