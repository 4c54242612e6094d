"""A container's users are nobody on the host; its files have the owners that it gave them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command, kernel
from layerline.engine.runtime.service import Services
from layerline.engine.runtime.spec import SecretFile, Tmpfs, Volume
from layerline.engine.runtime.user_ids import BASE, COUNT, PLACE, ShiftedFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.runtime.conftest import Box, Ran


@pytest.fixture
def services(box: Box) -> Iterator[Services]:
    """The networks that user namespaces come with."""
    for program in ("pasta", "ip", "nft"):
        if command.find(program) is None:
            pytest.skip(f"{program} is not installed")
    with Services(box.runtime) as services:
        if box.runtime.ids(privileged=False) is None:
            pytest.skip("this kernel cannot show files with shifted owners")
        yield services


def run(box: Box, services: Services, script: str, **options: Any) -> Ran:  # noqa: ANN401
    spec = box.spec("sh", "-c", script, **options)
    with services.join(spec) as joined:
        return box.run(*joined.argv, network=joined.network, **options)


def test_its_ids_are_shifted(box: Box, services: Services) -> None:
    done = run(box, services, "cat /proc/self/uid_map /proc/self/gid_map; id -u")
    assert done.stdout.split() == ["0", str(BASE), str(COUNT)] * 2 + ["0"]


def test_a_privileged_one_is_root_of_the_host(box: Box, services: Services) -> None:
    done = run(box, services, "cat /proc/self/uid_map", privileged=True)
    assert done.stdout.split() == ["0", "0", str(2**32 - 1)]


def test_owners_in_the_layer_are_those_of_the_container(box: Box, services: Services) -> None:
    script = "mkdir -p /a/b; echo x > /a/b/c; chown 1000:29 /a/b/c; ls -ln /etc/passwd"
    done = run(box, services, script, cwd="/made/here", redirect_stdout="/out")
    found = {
        name: ((info := (done.upper / name).lstat()).st_uid, info.st_gid)
        for name in ("a", "a/b/c", "made/here", "out")
    }
    assert found == {
        "a": (0, 0),
        "a/b/c": (1000, 29),
        "made/here": (0, 0),
        "out": (0, 0),
    }
    assert done.stdout.split()[2:4] == ["0", "0"]


def test_a_users_own_directories(box: Box, services: Services) -> None:
    script = "id -u; touch here; ls -nd /home/d | awk '{print $3, $4}'"
    done = run(box, services, script, user="daemon", cwd="/home/d")
    assert done.stdout == "1\n1 1\n"
    assert (done.upper / "home/d/here").stat().st_uid == 1


def test_mounts_have_the_containers_owners(box: Box, services: Services, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "kept").write_text("k")
    os.chown(volume / "kept", 1, 1)
    script = (
        "ls -n /v/kept | awk '{print $3}'; touch /v/new /t/new; chown 2 /v/new; "
        "ls -n /s | awk '{print $3}'; stat -c %u /t /t/new"
    )
    mounts = (
        Volume(target="/v", source=volume),
        Tmpfs(target="/t"),
        SecretFile(target="/s", data=b"s", owner="daemon"),
    )
    done = run(box, services, script, mounts=mounts)
    assert done.stdout.split() == ["1", "1", "0", "0"]
    assert (volume / "new").stat().st_uid == 2


def test_no_device_can_be_made(box: Box, services: Services) -> None:
    assert "Operation not permitted" in run(box, services, "mknod /d b 8 0").stderr


def test_creating_as_another_keeps_what_root_may(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with kernel.creating_as(12345):
        (closed / "file").touch()
    (closed / "own").touch()
    assert ((closed / "file").stat().st_uid, (closed / "own").stat().st_uid) == (12345, 0)


def test_a_session_removes_what_dead_ones_left_and_nothing_of_live_ones(tmp_path: Path) -> None:
    dead = PLACE / "dead"
    with ShiftedFiles.open(tmp_path, scratch=tmp_path) as one:
        if one is None:
            pytest.skip("this kernel cannot show files with shifted owners")
        dead.mkdir(exist_ok=True)
        with ShiftedFiles.open(tmp_path, scratch=tmp_path) as two, one.directory("x") as first:
            assert two is not None
            with two.directory("x") as second:
                assert first != second
                assert first.is_dir()
            assert not dead.exists()
    assert not first.parent.exists()


def test_a_privileged_guest_is_root_of_its_own_namespaces_alone(
    box: Box, services: Services
) -> None:
    """Modules and Dockerfiles may ask for insecureRootCapabilities, too."""
    script = (
        "cat /proc/self/uid_map; mount -t tmpfs none /opt && echo mounted; "
        "echo x > /proc/sys/kernel/core_pattern; mknod /d b 8 0; ls /dev/kmsg /dev/vda"
    )
    done = run(box, services, script, privileged=True, guest=True)
    assert done.stdout.split() == ["0", str(BASE), str(COUNT), "mounted"]
    assert len(done.stderr.splitlines()) == 4
