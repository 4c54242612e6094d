"""Programs that take all they can get: each is held inside its own container."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.engine.runtime import cgroups, step_limits
from layerline.engine.runtime.bounds import Machine
from layerline.engine.runtime.container import Runtime
from layerline.settings import Settings
from tests.unit.runtime.conftest import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from layerline.engine.runtime.spec import ContainerSpec, Network

    OpenBox = Callable[..., AbstractContextManager[Box]]

MIB = 1 << 20
# Each doubles what it has, for ever.
MEMORY_BOMB = ("awk", 'BEGIN { text = "x"; while (1) text = text text }')
FORK_BOMB = "bomb() { bomb | bomb & bomb; }; bomb 2> /dev/null; wait"
NEVER_GIVES_UP = ("awk", 'BEGIN { while (1) system("sleep 100 2> /dev/null &") }')


@pytest.fixture
def open_box(
    busybox: Path,
    network: Network | None,
    runc: Path,  # noqa: ARG001
    overlay: None,  # noqa: ARG001
    tmp_path: Path,
) -> OpenBox:
    """A runtime under the limits that variables set."""

    @contextmanager
    def opened(**variables: str) -> Iterator[Box]:
        settings = Settings.from_environ({"HOME": str(tmp_path), **variables})
        with Runtime.find(settings, tmp_path / "scratch") as runtime:
            yield Box(runtime=runtime, image=busybox, place=tmp_path, network=network)

    return opened


@pytest.fixture
def open_limited(
    open_box: OpenBox,
) -> OpenBox:
    """A runtime whose limits are those of cgroups."""

    @contextmanager
    def opened(**variables: str) -> Iterator[Box]:
        with open_box(**variables) as box:
            if box.runtime.limits.enforced != {"memory", "pids", "cpu"}:
                pytest.skip(f"controllers here: {sorted(box.runtime.limits.enforced)}")
            yield box

    return opened


def ended(box: Box, spec: ContainerSpec) -> tuple[int, str]:
    """The exit code, and the limit that the program met."""
    ignore = threading.Event()
    with box.runtime.run(spec, on_output=lambda _data, _stream: None, cancel=ignore) as outcome:
        return outcome.code, outcome.limit


def test_a_memory_bomb_ends_its_step_alone(open_limited: OpenBox, tmp_path: Path) -> None:
    with open_limited(LAYERLINE_MEMORY="64MiB") as box:
        assert ended(box, box.spec(*MEMORY_BOMB)) == (
            137,
            "out of memory: the limit for a step is 67.1 MB: raise LAYERLINE_MEMORY, or memory in "
            f"[limits] of {tmp_path}/.config/layerline/config.toml",
        )
        assert box.run("echo", "on").stdout == "on\n"


def test_a_program_that_survives_the_end_of_its_child_passes(
    open_limited: OpenBox,
) -> None:
    with open_limited(LAYERLINE_MEMORY="64MiB") as box:
        script = f"awk '{MEMORY_BOMB[1]}' || echo caught"
        assert ended(box, box.spec("sh", "-c", script)) == (0, "")
        code, limit = ended(box, box.spec("sh", "-c", f"{script}; exit 3"))
        assert code == 3
        assert limit.startswith("out of memory: ")


def test_another_failure_is_not_blamed_on_a_limit(
    open_limited: OpenBox,
) -> None:
    with open_limited(LAYERLINE_MEMORY="64MiB", LAYERLINE_PROCESSES="64") as box:
        assert ended(box, box.spec("sh", "-c", "kill -9 $$")) == (137, "")
        assert ended(box, box.spec("no-such-program")) == (1, "")


def test_files_in_memory_count(open_limited: OpenBox) -> None:
    with open_limited(LAYERLINE_MEMORY="40MiB") as box:
        code, limit = ended(box, box.spec("dd", "if=/dev/zero", "of=/dev/shm/file", "bs=1M"))
        assert code == 137
        assert limit.startswith("out of memory: the limit for a step is 41.9 MB")


def test_a_fork_bomb_is_refused_processes_and_others_are_not(
    open_limited: OpenBox, tmp_path: Path
) -> None:
    with open_limited(LAYERLINE_PROCESSES="100") as box:
        found: list[tuple[int, str]] = []
        script = f"{FORK_BOMB}; while sleep 100 & do :; done"
        bomb = threading.Thread(
            target=lambda: found.append(ended(box, box.spec("sh", "-c", script)))
        )
        bomb.start()
        for _ in range(3):
            assert box.shell("echo $(echo a | cat | cat)").stdout == "a\n"
        bomb.join(timeout=60)
        (code, limit), *_ = found
        assert code != 0
        assert limit == (
            "too many processes: the limit for a step is 100: raise LAYERLINE_PROCESSES, or "
            f"processes in [limits] of {tmp_path}/.config/layerline/config.toml"
        )


def test_a_fork_bomb_that_never_gives_up_is_ended(
    open_limited: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_limits, "_STUCK", 2)
    with open_limited(LAYERLINE_PROCESSES="64") as box:
        code, limit = ended(box, box.spec(*NEVER_GIVES_UP))
        assert code == 137
        assert limit.startswith(
            "too many processes: ended after 2 seconds at the limit of 64 for a step: raise "
        )
        assert box.run("echo", "on").stdout == "on\n"


def test_the_steps_of_a_session_have_a_limit_together(
    open_limited: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 400 MiB 200 are the engine's; 4 steps of 100 MiB do not fit into the rest."""
    small = Machine(memory=400 * MIB, processes=10_000)
    monkeypatch.setattr(Machine, "measure", lambda _hierarchies: small)
    with open_limited(LAYERLINE_MEMORY="150MiB") as box:
        holder = 'BEGIN { text = sprintf("%100000000s", ""); system("sleep 3") }'
        found: list[tuple[int, str]] = []
        threads = [
            threading.Thread(target=lambda: found.append(ended(box, box.spec("awk", holder))))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failed = [limit for code, limit in found if code]
        assert failed
        for limit in failed:
            assert limit.startswith(
                "out of memory: the limit for all steps that run at once is 209.7 MB: raise "
            )


def test_cpus_are_a_share_of_time(
    open_limited: OpenBox,
) -> None:
    with open_limited(LAYERLINE_CPUS="0.2") as box:
        busy = "timeout 2 awk 'BEGIN { while (1); }'; times"
        used = box.shell(busy).stdout.splitlines()[-1].split()[0]
        minutes, seconds = used.removesuffix("s").split("m")
        assert float(minutes) * 60 + float(seconds) < 0.8


def test_the_kernel_ends_a_step_before_the_engine(
    open_box: OpenBox,
) -> None:
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    with open_box() as box:
        assert int(box.run("cat", "/proc/self/oom_score_adj").stdout) == min(ours + 500, 1000)


def test_the_default_is_a_quarter_of_the_machines_processes(
    open_limited: OpenBox,
) -> None:
    with open_limited() as box:
        limits = box.runtime.limits
        most = int(Path("/proc/sys/kernel/pid_max").read_text())
        assert limits.step.processes <= most // 4
        together = limits.cgroups.directory("pids")
        assert together is not None
        assert int((together / "pids.max").read_text()) == limits.session.processes <= most // 2


@pytest.fixture
def open_unlimited(open_box: OpenBox, monkeypatch: pytest.MonkeyPatch) -> OpenBox:
    """A runtime on a machine without cgroups."""
    monkeypatch.setattr(cgroups, "find_hierarchies", list)
    return open_box


@pytest.mark.usefixtures("process_limits")
def test_without_cgroups_the_limits_are_those_of_a_process(
    open_unlimited: OpenBox,
) -> None:
    with open_unlimited(LAYERLINE_MEMORY="300MiB", LAYERLINE_PROCESSES="50") as box:
        limits = box.run("cat", "/proc/self/limits").stdout.splitlines()
        rows = {line[:26].strip(): line[26:].split()[:2] for line in limits}
        assert rows["Max data size"] == [str(300 * MIB)] * 2
        assert rows["Max processes"] == ["50", "50"]
        assert box.run(*MEMORY_BOMB).code != 0
        assert box.shell("while sleep 100 & do :; done", user="nobody").code != 0


@pytest.mark.usefixtures("process_limits")
def test_the_least_that_may_be_set_starts_a_program(open_box: OpenBox) -> None:
    with open_box(LAYERLINE_MEMORY="32MiB", LAYERLINE_PROCESSES="32", LAYERLINE_CPUS="0.1") as box:
        assert [box.run("echo", "on").stdout for _ in range(5)] == ["on\n"] * 5


@pytest.mark.usefixtures("process_limits")
def test_the_least_starts_a_program_without_cgroups(open_unlimited: OpenBox) -> None:
    with open_unlimited(LAYERLINE_MEMORY="32MiB", LAYERLINE_PROCESSES="32") as box:
        assert box.run("echo", "on").stdout == "on\n"


def test_what_rlimits_do_not_hold_is_said(
    open_unlimited: OpenBox,
) -> None:
    with open_unlimited(LAYERLINE_CPUS="1") as box:
        assert box.runtime.limits.shortfall == (
            "no writable cgroup limits the memory and processes and cpus of a step: rlimits are "
            "used, which hold for single processes and users; no rlimit stands in for cpus; "
            "'layerline doctor' says why"
        )
    with open_unlimited(LAYERLINE_MEMORY="unlimited", LAYERLINE_PROCESSES="unlimited") as box:
        assert box.runtime.limits.shortfall == ""
        assert box.runtime.limits.rlimits == {}


def test_with_cgroups_rlimits_are_the_engines_own(open_limited: OpenBox) -> None:
    """BuildKit resets containerd's default of 1,024 open files: executor/oci/spec.go, `Rlimits`.

    The soft limit of open files is not compared: Go programs such as runc raise it to the hard one.
    """
    with open_limited() as box:
        inside = box.run("cat", "/proc/self/limits").stdout.splitlines()
    outside = Path("/proc/self/limits").read_text().splitlines()
    assert [line[47:] for line in inside] == [line[47:] for line in outside]
    kept = [not line.startswith("Max open files") for line in outside]
    assert list(compress(inside, kept)) == list(compress(outside, kept))


def test_a_runtime_that_keeps_nothing_is_used_all_the_same(
    open_limited: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_limits, "_PAUSE", 0.0)
    with open_limited(LAYERLINE_MEMORY="64MiB") as box:
        box.runtime._keeps = False
        code, limit = ended(box, box.spec("sh", "-c", f"awk '{MEMORY_BOMB[1]}'; sleep 1; exit 5"))
        assert code == 5
        assert limit.startswith("out of memory: ")
