"""What an unchanged, a changed, an interrupted and a failing build do, seen from outside."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import copied, processes, succeeded, wait_for_words, wait_until

if TYPE_CHECKING:
    from tests.integration.conftest import Project

pytestmark = [pytest.mark.privileged, pytest.mark.network]

PACKAGES = "withExec sh -c 'echo packages; head -c 8 /dev/urandom >/first'"
SOURCE = "withExec sh -c 'cat /app/* >/third; head -c 8 /dev/urandom >>/third'"
CGROUPS = Path("/sys/fs/cgroup")
EXPORT = ("export", "--path=image.tar")


def test_an_unchanged_build_starts_nothing_and_leaves_the_export_alone(project: Project) -> None:
    first = succeeded(project.call("call", "build", *EXPORT))
    assert len(first.containers()) == 3
    before = (project.home / "image.tar").stat()
    again = succeeded(project.call("call", "build", *EXPORT))
    assert again.containers() == []
    after = (project.home / "image.tar").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_clone_starts_nothing_and_loads_nothing(
    project: Project, tmp_path: Path, busybox_root: Path
) -> None:
    succeeded(project.call("call", "build", *EXPORT))
    other = copied(tmp_path / "other", busybox_root, project.environ, mark=str(tmp_path))
    os.utime(other.home / "source/train.py", (1, 1))
    again = succeeded(other.call("call", "build", *EXPORT))
    assert again.containers() == []
    assert "load type definitions" not in again.steps()
    ours, theirs = ((one.home / "image.tar").read_bytes() for one in (project, other))
    assert ours == theirs


def test_a_changed_source_runs_only_the_steps_after_it(project: Project) -> None:
    succeeded(project.call("call", "build", *EXPORT))
    (project.home / "source/train.py").write_text("print('training longer')\n")
    before = (project.home / "image.tar").stat()
    again = succeeded(project.call("call", "build", *EXPORT))
    assert again.containers() == [SOURCE]
    assert (project.home / "image.tar").stat().st_mtime_ns != before.st_mtime_ns


def test_a_kill_in_the_middle_loses_only_the_step_that_ran(
    project: Project, tmp_path: Path
) -> None:
    words = ("call", "build", "--seconds-at-first=86417")
    log = tmp_path / "killed.log"
    process = project.start(*words, *EXPORT, log=log)
    try:
        wait_for_words("installing for 86417 s", log, process)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: processes("86417") == [], seconds=10)
    assert str(project.store) not in Path("/proc/self/mounts").read_text()
    assert f"{PACKAGES} DONE" in log.read_text()
    snapshots = names(project.store / "snapshots")

    again = succeeded(project.call(*words, *EXPORT))
    assert again.steps()[PACKAGES] == "CACHED"
    assert len(again.containers()) == 2
    assert snapshots < names(project.store / "snapshots")
    assert names(project.store / "scratch") == set()
    assert abandoned_cgroups() == set()


def test_an_interrupt_ends_the_step_and_says_so(project: Project, tmp_path: Path) -> None:
    log = tmp_path / "interrupted.log"
    process = project.start("call", "build", "--seconds-at-first=86418", "sync", log=log)
    wait_for_words("installing for 86418 s", log, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 2
    said = log.read_text().splitlines()
    assert said[-2] == "Canceled."
    assert said[-1].startswith("Full log: ")
    # The janitor waits for the end of the session, so it ends after it.
    wait_until(lambda: processes("86418") == [], seconds=10)
    assert names(project.store / "scratch") == set()


@pytest.mark.parametrize("end", [("sync",), EXPORT, ("with-exec", "--args=true", "stdout")])
def test_a_failing_step_is_told_with_its_code_and_last_lines(
    project: Project, end: tuple[str, ...]
) -> None:
    failed = project.call("call", "failing", *end)
    assert failed.status == 42
    step = "withExec sh -c 'for i in 1 2 3; do echo line $i; done; echo '\"'\"'no such wheel'\"'\"'"
    assert any(name.startswith(step) for name, end in failed.steps().items() if end == "ERROR")
    text = "\n".join(failed.error)
    assert step.removeprefix("withExec ") in text
    assert "exit code: 42" in text
    assert "line 3\nStderr:\nno such wheel\n" in text + "\n"
    assert "Traceback" not in failed.stderr
    (whole,) = [line for line in failed.error if line.startswith("Full log: ")]
    assert "no such wheel" in Path(whole.removeprefix("Full log: ")).read_text()


def abandoned_cgroups() -> set[str]:
    """Those of no session that lives: a session locks its own in one of the hierarchies."""
    places = [place for place in CGROUPS.glob("**/layerline/*/") if place.is_dir()]
    return {place.name for place in places} - {p.name for p in places if is_locked(p)}


def is_locked(cgroup: Path) -> bool:
    descriptor = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}
