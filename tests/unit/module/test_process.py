"""A function's process sees its own files and variables, and nothing of the caller's."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from layerline.engine.module.environment import Environment
from layerline.engine.module.process import (
    ProcessResult,
    Program,
    container,
    run_program,
    variables,
)
from layerline.engine.module.project import read_project
from layerline.engine.runtime.container import Runtime
from layerline.engine.runtime.service import Services
from layerline.errors import Cancelled
from layerline.settings import Settings

pytestmark = pytest.mark.privileged

SESSION = {"DAGGER_SESSION_PORT": "1", "DAGGER_SESSION_TOKEN": "t"}

# Stands for the SDK, whose entry point is called as `app(None, register)`.
CLI = """\
import json, os, sys, time

def app(module, register):
    exec(open("/src/module/code.txt").read(), globals())
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
    place = program.source.parent
    (place / "call").mkdir()
    settings = Settings.from_environ({"HOME": str(place)})
    spec = container(
        program, place / "call", variables(program, module="sample", session=SESSION), settings
    )
    with (
        Runtime.find(settings, place / "scratch") as runtime,
        Services(runtime) as services,
        services.join(spec) as joined,
    ):
        return run_program(
            joined,
            runtime,
            on_output=lambda _data, _stream: None,
            cancel=cancel or threading.Event(),
        )


def test_what_it_sees(program: Program) -> None:
    done = run_code(program, LOOK)
    assert done.status == 0, done.output
    seen = json.loads(done.output)
    assert (seen["cwd"], seen["here"], seen["argv"]) == ("/scratch", [], ["/runtime"])
    assert seen["pid"]
    assert (seen["source"], seen["system"], seen["scratch"]) == (False, False, True)
    assert not {"home", "boot", "mnt", "srv"} & set(seen["root"])
    assert set(seen["names"]) == set(variables(program, module="", session=SESSION))


# https://docs.python.org/3/reference/import.html#the-module-cache: None ends a search at once.
SEARCH = """\
import sys
missing = "sniffio" in sys.modules and sys.modules["sniffio"] is None
try:
    import sniffio
except ModuleNotFoundError:
    print("not found", missing)
else:
    print(sniffio.__name__, missing)
"""


@pytest.mark.parametrize("has", [False, True])
def test_what_httpcore_asks_for_is_looked_for_once(program: Program, *, has: bool) -> None:
    # An environment of its own: the interpreter's packages may have it.
    (program.environment.root / "pyvenv.cfg").write_text(
        f"home = {Path(sys.executable).resolve().parent}\ninclude-system-site-packages = false\n"
    )
    if has:
        (program.source / "src" / "sniffio.py").touch()
    done = run_code(program, SEARCH)
    assert done.output.split("\n")[-2] == ("sniffio False" if has else "not found True")


# What the attacks of issue 14 did: the host's disk, its kernel's settings, its network, its users.
ATTACK = """\
import glob, socket
def attempt(action):
    try:
        return repr(action())
    except OSError as exc:
        return exc.__class__.__name__
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "capabilities": int(status["CapBnd"], 16) & ~0xa80425fb,
    "seccomp": status["Seccomp"].strip(),
    "owner of the network": os.stat("/proc/self/ns/user").st_ino,
    "devices": sorted(set(os.listdir("/dev")) & {"vda", "sda", "kmsg", "mem", "fuse", "loop0"}),
    "node": attempt(lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0))),
    "kernel": attempt(lambda: open("/proc/sys/kernel/core_pattern", "w")),
    "users": sum(1 for _ in open("/etc/passwd")),
    "keys": glob.glob("/etc/ssl/private/*") + glob.glob("/root/.ssh/*") + glob.glob("/etc/shadow"),
    "loopback": attempt(lambda: socket.create_connection(("127.0.0.1", PORT), timeout=1)),
    "links": sorted(name for _, name in socket.if_nameindex()),
}))
"""


def test_it_reaches_nothing_of_the_host(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run_code(program, ATTACK.replace("PORT", str(port)))
    seen = json.loads(done.output)
    assert seen.pop("owner of the network") != Path("/proc/self/ns/user").stat().st_ino
    assert seen == {
        "capabilities": 0,
        "seccomp": "2",
        "devices": [],
        "node": "PermissionError",
        "kernel": "OSError",
        "users": 2,
        "keys": [],
        "loopback": "ConnectionRefusedError",
        "links": ["eth0", "lo"],
    }


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
    with pytest.raises(Cancelled):
        run_code(program, "time.sleep(60)", cancel)
    assert time.monotonic() - began < 10
    timer.join()


def test_no_mount_is_left(program: Program) -> None:
    run_code(program, "pass")
    assert str(program.source.parent) not in Path("/proc/self/mounts").read_text()
