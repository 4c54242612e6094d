"""A function's process sees its own files and variables, and nothing of the caller's."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from layerline.engine.module.environment import Environment
from layerline.engine.module.process import ProcessResult, Program, run_program, variables
from layerline.engine.module.project import read_project

pytestmark = pytest.mark.privileged

# Stands for the SDK, whose entry point is called as `app(None, register)`.
CLI = """\
import json, os, sys, time

def app(module, register):
    exec(open("/src/module/code.txt").read())
"""
LOOK = """\
def can_write(path):
    try:
        open(path, "a").close()
    except OSError:
        return False
    return True

print(json.dumps({
    "cwd": os.getcwd(),
    "here": os.listdir("."),
    "names": sorted(os.environ),
    "pid": os.getpid() < 20,
    "root": sorted(os.listdir("/")),
    "source": can_write("/src/module/new"),
    "system": can_write("/usr/new"),
    "scratch": can_write("new"),
    "argv": sys.argv,
}))
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    source = tmp_path / "source"
    package = source / "src" / "dagger" / "mod"
    package.mkdir(parents=True)
    (package / "cli.py").write_text(CLI)
    (source / "src" / "main.py").touch()
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    interpreter = Path(sys.executable).resolve()
    (venv / "bin" / "python").symlink_to(interpreter)
    return Program(
        environment=Environment(root=venv, base=interpreter.parent.parent),
        project=read_project(source, "sample"),
        source=source,
        name="module",
        subpath=".",
    )


def run_code(program: Program, code: str, cancel: threading.Event | None = None) -> ProcessResult:
    (program.source / "code.txt").write_text(code)
    root = program.source.parent / "root"
    root.mkdir()
    environ = variables(program, module="sample", port=1, token="t")
    return run_program(
        program, root, environ, on_output=lambda _: None, cancel=cancel or threading.Event()
    )


def test_what_it_sees(program: Program) -> None:
    done = run_code(program, LOOK)
    assert done.status == 0, done.output
    seen = json.loads(done.output)
    assert (seen["cwd"], seen["here"], seen["argv"]) == ("/scratch", [], ["/runtime"])
    assert seen["pid"]
    assert (seen["source"], seen["system"], seen["scratch"]) == (False, False, True)
    assert not {"home", "boot", "mnt", "srv"} & set(seen["root"])
    assert set(seen["names"]) == set(variables(program, module="", port=1, token=""))


def test_what_it_writes_stays_in_its_directory(program: Program) -> None:
    run_code(program, 'open("made.txt", "w").write("x")')
    assert (program.source.parent / "root/scratch/made.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("code", "status"), [("sys.exit(5)", 5), ("1/0", 1), ("os.kill(os.getpid(), 9)", 137)]
)
def test_how_it_ends(program: Program, code: str, status: int) -> None:
    assert run_code(program, code).status == status


def test_the_end_of_a_long_output_is_kept(program: Program) -> None:
    done = run_code(program, 'print("x" * 300_000 + "end")')
    assert done.output.endswith("end\n")
    assert len(done.output) <= 100 * 1024


def test_a_cancelled_call_is_over_at_once(program: Program) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.5, cancel.set)
    timer.start()
    began = time.monotonic()
    assert run_code(program, "time.sleep(60)", cancel).status != 0
    assert time.monotonic() - began < 10
    timer.join()


def test_no_mount_is_left(program: Program) -> None:
    run_code(program, "pass")
    assert str(program.source.parent) not in Path("/proc/self/mounts").read_text()
    assert list((program.source.parent / "root/usr").iterdir()) == []
