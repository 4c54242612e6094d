"""Mounts of real containers: what shows, where writes go, and that nothing stays."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest

from layerline.engine.runtime.spec import (
    Bind,
    LayerMount,
    Overlay,
    SecretFile,
    Socket,
    Tmpfs,
    Volume,
)
from layerline.errors import ExecError
from tests.unit.runtime.conftest import names

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.runtime.conftest import Box


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A layer with a file and a directory."""
    place = tmp_path / "source"
    (place / "s").mkdir(parents=True)
    (place / "f").write_text("1\n")
    (place / "s/g").write_text("2\n")
    return place


def test_writes_into_a_mounted_directory_land_in_its_own_layer(box: Box, source: Path) -> None:
    overlay = box.overlay(source)
    ran = box.shell(
        "cat /m/f; echo n > /m/n; rm /m/f", mounts=(LayerMount(target="/m", overlay=overlay),)
    )
    assert overlay.upper is not None
    assert (ran.stdout, names(ran.upper)) == ("1\n", [])
    assert names(overlay.upper) == ["f", "n"]
    assert stat.S_ISCHR((overlay.upper / "f").lstat().st_mode)
    assert (source / "f").read_text() == "1\n"


def test_a_part_of_a_tree_can_be_mounted(box: Box, source: Path) -> None:
    overlay = box.overlay(source)
    mount = LayerMount(target="/opt", overlay=overlay, subpath="/s")
    ran = box.shell("ls /opt; echo n > /opt/n", mounts=(mount,))
    assert overlay.upper is not None
    assert ran.stdout == "g\n"
    assert names(overlay.upper) == ["s", "s/n"]


def test_a_file_can_be_mounted_and_written(box: Box, source: Path) -> None:
    overlay = box.overlay(source)
    mount = LayerMount(target="/deep/down/file", overlay=overlay, subpath="f")
    ran = box.shell("cat /deep/down/file; echo 3 > /deep/down/file", mounts=(mount,))
    assert overlay.upper is not None
    assert (ran.stdout, names(ran.upper)) == ("1\n", [])
    assert (overlay.upper / "f").read_text() == "3\n"


@pytest.mark.parametrize("writable", [True, False])
def test_a_read_only_mount_cannot_be_written(box: Box, source: Path, *, writable: bool) -> None:
    overlay = box.overlay(source) if writable else Overlay(lower=(source,))
    mount = LayerMount(target="/m", overlay=overlay, readonly=True)
    ran = box.shell("cat /m/f; echo x > /m/n", mounts=(mount,))
    assert (ran.code, ran.stdout) == (1, "1\n")
    assert "Read-only file system" in ran.stderr


def test_a_mount_inside_a_mount(box: Box, source: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    overlay = box.overlay(source)
    ran = box.shell(
        "ls /m /m/child /m/child/t; mount | grep -c ' /m'",
        mounts=(
            Tmpfs(target="/m/child/t"),
            Volume(target="/m/child", source=volume),
            LayerMount(target="/m", overlay=overlay),
        ),
    )
    assert ran.stdout == "/m:\nchild\nf\ns\n\n/m/child:\nt\n\n/m/child/t:\n3\n"
    assert overlay.upper is not None
    assert (names(overlay.upper), names(volume), names(ran.upper)) == ([], [], [])


def test_a_parent_of_a_mount_point_looks_untouched(box: Box, tmp_path: Path) -> None:
    image = tmp_path / "old"
    (image / "srv").mkdir(parents=True)
    (image / "srv").chmod(0o750)
    mount = Tmpfs(target="/srv/a/b")
    ran = box.shell(
        "stat -c '%a %Y' /srv; touch /srv/new; stat -c %a /srv",
        rootfs=box.overlay(box.image, image),
        mounts=(mount,),
    )
    assert ran.stdout == f"750 {int((image / 'srv').stat().st_mtime)}\n750\n"
    assert names(ran.upper) == ["srv", "srv/new"]


def test_a_target_behind_a_link_stays_inside(box: Box, source: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    image = tmp_path / "link"
    image.mkdir()
    (image / "way").symlink_to(victim)
    ran = box.shell(
        f"cat {victim}/m/f; ls /way",
        rootfs=box.overlay(box.image, image),
        mounts=(LayerMount(target="/way/m", overlay=box.overlay(source)),),
    )
    assert ran.stdout == "1\nm\n"
    assert (names(victim), names(ran.upper)) == ([], [])


def test_a_temporary_mount_is_empty_and_bounded(box: Box) -> None:
    mount = Tmpfs(target="/opt", size=1 << 20)
    ran = box.shell("ls -A /opt; head -c 4000000 /dev/zero > /opt/x || echo full", mounts=(mount,))
    assert ran.stdout == "full\n"
    assert names(ran.upper) == []


def test_a_temporary_mount_may_replace_shared_memory(box: Box) -> None:
    mount = Tmpfs(target="/dev/shm", size=100 << 20)
    ran = box.shell("df -k /dev/shm | tail -1; echo x > /dev/shm/x", mounts=(mount,))
    assert ran.stdout.split()[1] == "102400"


def test_a_volume_keeps_what_is_written_and_takes_its_owner(box: Box, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o755)
    mount = Volume(target="/c", source=volume, owner="daemon:sys")
    box.shell("echo x > /c/x", mounts=(mount,), user="daemon")
    assert (volume / "x").read_text() == "x\n"
    assert (volume.stat().st_uid, volume.stat().st_gid) == (1, 3)


def test_a_bind_shows_the_host(box: Box, source: Path) -> None:
    mount = Bind(target="/h", source=source / "f", readonly=True)
    ran = box.shell("cat /h; echo x > /h", mounts=(mount,))
    assert (ran.stdout, ran.code) == ("1\n", 1)


def test_a_secret_is_private_in_memory_and_leaves_no_trace(box: Box) -> None:
    mount = SecretFile(target="/run/x/sec", data=b"no newline")
    ran = box.shell(
        "cd /run/x; stat -c '%a %u:%g %s' sec; grep /run/x /proc/mounts | cut -d' ' -f3; cat sec",
        mounts=(mount,),
        secrets=(b"no newline",),
    )
    assert ran.stdout == "400 0:0 10\ntmpfs\n***"
    assert names(ran.upper) == []


def test_the_owner_of_a_secret_can_read_it_and_others_cannot(box: Box) -> None:
    mine = SecretFile(target="/mine", data=b"m", owner="daemon:sys", mode=0o440)
    other = SecretFile(target="/other", data=b"o")
    ran = box.shell(
        "stat -c '%a %U:%G' /mine; cat /mine; cat /other", mounts=(mine, other), user="daemon"
    )
    assert ran.stdout == "440 daemon:sys\nm"
    assert ran.code == 1


def test_a_socket_belongs_to_its_owner_and_the_hosts_stays_as_it_is(
    box: Box, tmp_path: Path
) -> None:
    """As BuildKit's forwarded sockets: mode 0600, and root's without an owner."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        before = (tmp_path / "s").stat()
        mounts = (
            Socket(target="/mine", host=tmp_path / "s", owner="daemon:sys"),
            Socket(target="/other", host=tmp_path / "s"),
        )
        ran = box.shell("stat -c '%F %a %U:%G' /mine /other", mounts=mounts)
        after = (tmp_path / "s").stat()
    assert ran.stdout == "socket 600 daemon:sys\nsocket 600 root:root\n"
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)


def test_a_secret_is_mounted_over_a_file_at_its_path(box: Box, source: Path) -> None:
    file = LayerMount(target="/m", overlay=Overlay(lower=(source,)), subpath="f")
    secret = SecretFile(target="/m", data=b"secret")
    for mounts in ((file, secret), (secret, file)):
        assert box.shell("cat /m", mounts=mounts).stdout == "secret"


def test_a_missing_part_of_a_tree_is_a_failed_set_up(box: Box, source: Path) -> None:
    mount = LayerMount(target="/m", overlay=box.overlay(source), subpath="nope")
    with pytest.raises(ExecError, match="nope: no such file or directory"):
        box.run("true", mounts=(mount,))


@pytest.mark.parametrize(
    ("target", "kind", "said"),
    [
        ("/opt", "file", "/opt: a file cannot be mounted over a directory"),
        ("/", "file", "/: a file cannot be mounted over a directory"),
        ("/etc/passwd", "directory", "/etc/passwd: a directory cannot be mounted over a file"),
    ],
)
def test_a_file_is_mounted_over_no_directory_and_the_reverse(
    box: Box, source: Path, target: str, kind: str, said: str
) -> None:
    # mount(2): ENOTDIR. The Dagger engine and docker pass that on.
    subpath = "f" if kind == "file" else "s"
    mount = LayerMount(target=target, overlay=box.overlay(source), subpath=subpath)
    with pytest.raises(ExecError, match=said):
        box.shell("true", mounts=(mount,))


def test_a_mount_over_etc_hides_what_the_engine_puts_there(box: Box, source: Path) -> None:
    # moby/buildkit, executor/oci/spec.go: resolv.conf and hosts come first, then the mounts.
    mount = LayerMount(target="/etc", overlay=box.overlay(source))
    assert box.shell("ls /etc; cat /etc/hosts | wc -c", mounts=(mount,)).stdout == "f\ns\n0\n"


@pytest.mark.parametrize("path", ["/etc/hosts", "/etc/resolv.conf"])
def test_a_users_own_file_wins_over_the_engines(box: Box, source: Path, path: str) -> None:
    # The same, dedupMounts: the later mount at a path wins; as in docker.
    mount = LayerMount(target=path, overlay=box.overlay(source), subpath="f")
    assert box.shell(f"cat {path}", mounts=(mount,)).stdout == "1\n"


def test_a_directory_mounted_at_the_root_takes_its_place(box: Box, source: Path) -> None:
    # moby/buildkit, frontend/gateway/container: the mount at / is the root.
    overlay = box.overlay(box.image, source)
    mounts = (LayerMount(target="/", overlay=overlay), Tmpfs(target="/memory"))
    ran = box.shell("cat /f; ls -d /memory; echo n > /n", mounts=mounts)
    assert overlay.upper is not None
    assert (ran.stdout, names(ran.upper)) == ("1\n/memory\n", [])
    assert set(names(overlay.upper)) - {"etc"} == {"n"}  # a directory that was copied up
