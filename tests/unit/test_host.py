"""The namespaces of the engine, entered by real processes."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import layerline
from layerline import command, host, kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """
import os, signal, sys, time
from layerline import host
host.enter_namespaces()
"""
SOURCES = str(Path(layerline.__file__).parents[1])


@pytest.fixture
def marker(root: None, tmp_path: Path) -> Iterator[str]:  # noqa: ARG001
    """A word on the command lines of this test's processes; none of them may be left."""
    word = f"marker-{tmp_path.name}-{os.getpid()}"
    yield word
    deadline = time.monotonic() + 5
    while running(word) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running(word) == []


def running(word: str) -> list[str]:
    """The processes that have the word on their command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word in line:
            found.append(line)
    return found


def python(script: str, word: str) -> command.Process[bytes]:
    argv = [sys.executable, "-c", script, word]
    return command.start(argv, env={"PYTHONPATH": SOURCES}, stdout=command.PIPE)


def up(process: command.Process[bytes]) -> None:
    """Wait until the inner process says that it runs."""
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"up ")


def finish(process: command.Process[bytes]) -> tuple[int, bytes]:
    out, _ = process.communicate(timeout=10)
    return process.returncode, out


def test_the_inner_process_is_alone_and_its_status_is_returned(marker: str) -> None:
    script = START + (
        "print(os.getpid(), os.getppid(),\n"
        '      sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))\n'
        'print(os.path.ismount("/sys/fs/cgroup"))\n'
        "sys.exit(3)"
    )
    status, out = finish(python(script, marker))
    assert (status, out.splitlines()[0]) == (3, b"2 1 [1, 2]")
    assert out.splitlines()[1].decode() == str(Path("/sys/fs/cgroup").is_mount())


def test_mounts_do_not_reach_the_host(marker: str, tmp_path: Path) -> None:
    script = START + (
        "from pathlib import Path\nfrom layerline import kernel\n"
        f'kernel.mount("tmpfs", Path("{tmp_path}"), "tmpfs"); open("{tmp_path}/x", "w").close()'
    )
    assert finish(python(script, marker))[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_reach_the_inner_process(marker: str, number: signal.Signals) -> None:
    script = (
        START
        + f"signal.signal({int(number)}, lambda *_: sys.exit(41))\n"
        + 'print("up ", flush=True); time.sleep(60)'
    )
    process = python(script, marker)
    up(process)
    process.send_signal(number)
    assert finish(process)[0] == 41


def test_death_of_the_inner_process_by_a_signal_is_reported(marker: str) -> None:
    script = START + "os.kill(os.getpid(), signal.SIGKILL)"
    assert finish(python(script, marker))[0] == 128 + signal.SIGKILL


def test_everything_dies_with_the_outer_process(marker: str) -> None:
    script = START + (
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
        'print("up ", flush=True); time.sleep(60)'
    )
    process = python(script, marker)
    up(process)
    assert len(running(marker)) == 4
    process.kill()
    finish(process)


def test_orphans_inside_are_reaped(marker: str) -> None:
    script = START + (
        "if os.fork() == 0:\n    if os.fork() == 0:\n        os._exit(0)\n    os._exit(0)\n"
        "os.wait(); time.sleep(0.2)\n"
        'print(sorted(p for p in os.listdir("/proc") if p.isdigit()))'
    )
    assert finish(python(script, marker))[1] == b"['1', '2']\n"


def test_control_c_in_a_terminal_arrives_once(marker: str) -> None:
    script = START + (
        "count = []\nsignal.signal(signal.SIGINT, lambda *_: count.append(1))\n"
        'print("up ", flush=True); time.sleep(0.4); time.sleep(0.4); print("count", len(count))\n'
        "sys.exit(os.getpgrp() != os.tcgetpgrp(0))"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", script, marker], {"PYTHONPATH": SOURCES})
    seen = b""
    while b"up " not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"count 1\r\n" not in seen:
        seen += os.read(terminal, 1000)
    # The terminal goes last: one that asks for its group, or writes, must still find it.
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)


def test_a_user_without_subordinate_ids_is_refused(root: None) -> None:  # noqa: ARG001
    script = START.replace("host.enter", "os.setuid(65534)\nhost.enter")
    done = command.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": SOURCES}, expect=None, cwd=Path("/")
    )
    assert done.status != 0
    assert b"building images without root needs subordinate ids" in done.stderr


def test_what_is_measured_is_what_works(root: None) -> None:  # noqa: ARG001
    found = host.measure()
    before = Path("/proc/self/mounts").read_text()
    assert found.namespaces
    assert found.runtime is None or found.runtime.startswith("runc version")
    assert host.measure("no-such-runtime").runtime is None
    assert Path("/proc/self/mounts").read_text() == before


def test_many_layers_can_be_mounted_in_one_call_too(overlay: None, tmp_path: Path) -> None:  # noqa: ARG001
    lower = []
    for number in range(150):
        layer = tmp_path / f"a-long-name-of-a-layer-{number}"
        layer.mkdir()
        (layer / "same").write_text(str(number))
        lower.append(layer)
    upper, work, tree = (tmp_path / name for name in ("upper", "work", "tree"))
    for place in (upper, work, tree):
        place.mkdir()
    kernel.mount_overlay_at_once(lower, tree, upper=upper, work=work)
    try:
        assert (tree / "same").read_text() == "149"
        (tree / "new").touch()
        assert (upper / "new").exists()
    finally:
        kernel.unmount(tree)
