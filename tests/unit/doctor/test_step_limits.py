"""Whether a step can be limited, on hosts whose cgroup trees are files. Source: cgroups(7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.doctor.conftest import Host


@pytest.fixture
def cgroup(host: Host, tmp_path: Path) -> Path:
    """A hierarchy of version 2, whose root has all controllers."""
    place = tmp_path / "cgroup"
    place.mkdir()
    host.kernel("mounts", f"cgroup2 {place} cgroup2 rw 0 0\n")
    group(place, controllers="cpu memory pids", processes="1\n")
    return place


def group(path: Path, *, controllers: str = "", delegated: str = "", processes: str = "") -> None:
    """A group's files."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers + "\n")
    (path / "cgroup.subtree_control").write_text(delegated + "\n")
    (path / "cgroup.procs").write_text(processes)


def test_the_root_of_a_machine_gives_its_controllers(host: Host, cgroup: Path) -> None:
    assert host.look("step-limits").status == "ok"
    (cgroup / "cgroup.controllers").write_text("cpu memory\n")
    (finding,) = host.look("step-limits").findings
    assert finding.seen == "no group with the pids controller can be created here"


def test_the_root_of_a_container_does_not_while_processes_are_in_it(
    host: Host, cgroup: Path
) -> None:
    """That of a container's own cgroup namespace, by the rule of no internal processes."""
    (cgroup / "cgroup.type").write_text("domain\n")
    (finding,) = host.look("step-limits", uid=0).findings
    assert finding.facts == {"controllers": ["memory", "pids"]}
    assert finding.commands == ("docker run --privileged --cgroupns=host …",)
    (cgroup / "cgroup.procs").write_text("")
    assert host.look("step-limits").status == "ok"


def test_a_group_that_was_delegated_is_enough(host: Host, cgroup: Path) -> None:
    (cgroup / "cgroup.controllers").write_text("\n")
    user = cgroup / "user.slice/user@1000.service"
    group(user, controllers="memory pids", delegated="memory pids")
    group(user / "run.scope", processes="7\n")
    (finding,) = host.look("step-limits", uid=1000).findings
    assert finding.commands[0].startswith("systemd-run --user --scope --property=Delegate=yes ")
    host.kernel("self/cgroup", "0::/user.slice/user@1000.service/run.scope\n")
    assert host.look("step-limits", uid=1000).status == "ok"


def test_controllers_of_version_1_are_options_of_their_mounts(host: Host, tmp_path: Path) -> None:
    rows = [f"cgroup {tmp_path} cgroup rw,relatime,{name} 0 0\n" for name in ("memory", "cpu")]
    host.kernel("mounts", "".join(rows))
    (finding,) = host.look("step-limits").findings
    assert finding.facts == {"controllers": ["pids"]}
    host.kernel("mounts", "".join([*rows, f"cgroup {tmp_path} cgroup rw,pids 0 0\n"]))
    assert host.look("step-limits").status == "ok"


def test_without_cgroups_there_is_nothing_to_look_at(host: Host) -> None:
    host.kernel("mounts", "/dev/sda1 / ext4 rw 0 0\n")
    assert host.look("step-limits").status == "skipped"
