"""Real containers: what a program sees, what it leaves, and how it ends."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.runtime.container import Runtime
from layerline.errors import Cancelled, ExecError, RuntimeMissing
from layerline.settings import Settings
from tests.unit.runtime.conftest import names

if TYPE_CHECKING:
    from tests.unit.runtime.conftest import Box


def test_outputs_and_exit_code_are_those_of_the_program(box: Box) -> None:
    ran = box.shell("echo 1; sleep 0.1; echo 2 >&2; sleep 0.1; printf 3; exit 7")
    assert (ran.code, ran.stdout, ran.stderr, ran.combined) == (7, "1\n3", "2\n", "1\n2\n3")
    assert ran.pieces == [(b"1\n", 1), (b"2\n", 2), (b"3", 1)]


def test_arguments_reach_the_program_as_they_are(box: Box) -> None:
    assert box.run("printf", "[%s]", "a b", "$HOME", "*", "", "ü").stdout == "[a b][$HOME][*][][ü]"


def test_a_run_that_writes_nothing_leaves_an_empty_layer(box: Box) -> None:
    assert names(box.run("true").upper) == []


def test_what_a_program_writes_is_in_the_layer_and_nothing_else(box: Box) -> None:
    ran = box.shell("mkdir /d; echo x > /d/f; rm /etc/group")
    assert names(ran.upper) == ["d", "d/f", "etc", "etc/group"]
    assert stat.S_ISCHR((ran.upper / "etc/group").lstat().st_mode)


def test_the_environment_is_what_was_given_and_path_and_home(box: Box) -> None:
    ran = box.run("env", env=(("B", "1"), ("A", "2"), ("B", "3")))
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert ran.stdout.splitlines() == ["B=3", "A=2", path, "HOME=/root"]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "0 0 0 /root"),
        ("daemon", "1 1 1 29 /usr/sbin"),
        ("daemon:sys", "1 3 3 /usr/sbin"),
        ("1234:5678", "1234 5678 5678 /"),
        ("4321", "4321 0 0 /"),
    ],
)
def test_the_user_is_looked_up_in_the_container(box: Box, user: str, expected: str) -> None:
    ran = box.shell("echo $(id -u) $(id -g) $(id -G) $HOME", user=user)
    assert ran.stdout == f"{expected}\n"


def test_an_unknown_user_is_a_failed_set_up(box: Box) -> None:
    with pytest.raises(ExecError, match="unable to find user nobody-here: no matching") as caught:
        box.run("id", user="nobody-here")
    assert (caught.value.code, caught.value.command) == (-1, ("id",))


def test_a_missing_working_directory_is_made_for_the_user(box: Box) -> None:
    ran = box.shell("pwd; stat -c '%a %u:%g' /a /a/b", cwd="/a/b", user="daemon")
    assert ran.stdout == "/a/b\n755 1:1\n755 1:1\n"
    assert names(ran.upper) == ["a", "a/b"]


def test_a_working_directory_that_is_a_file_fails_with_status_one(box: Box) -> None:
    ran = box.run("pwd", cwd="/etc/passwd")
    assert (ran.code, ran.stdout) == (1, "")
    assert "not a directory" in ran.stderr


def test_a_working_directory_behind_a_link_stays_inside(box: Box, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    rootfs = box.overlay()
    assert rootfs.upper is not None
    image = tmp_path / "link"
    image.mkdir()
    (image / "way").symlink_to(victim)
    ran = box.run("pwd", rootfs=box.overlay(box.image, image), cwd="/way/new")
    assert ran.stdout == f"{victim}/new\n"
    assert names(victim) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nope",), 'exec: "nope": executable file not found in $PATH'),
        (("/etc/passwd",), 'exec: "/etc/passwd": permission denied'),
        (("/nope",), 'exec: "/nope": stat /nope: no such file or directory'),
        (("/etc",), 'exec: "/etc": is a directory'),
    ],
)
def test_a_program_that_cannot_start_is_status_one(
    box: Box, args: tuple[str, ...], message: str
) -> None:
    ran = box.run(*args)
    assert (ran.code, ran.stdout, ran.stderr) == (1, "", message)


def test_an_empty_root_has_nothing_to_run(box: Box, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = box.run("true", rootfs=box.overlay(tmp_path / "empty"))
    assert (ran.code, ran.stderr) == (1, 'exec: "true": executable file not found in $PATH')


def test_the_program_is_process_one_only_without_init(box: Box) -> None:
    assert int(box.shell("echo $$").stdout) > 1
    assert box.shell("echo $$", init=False).stdout == "1\n"


@pytest.mark.parametrize(("number", "code"), [(9, 137), (15, 143)])
def test_death_by_signal_is_128_and_the_signal(box: Box, number: int, code: int) -> None:
    assert box.shell(f"kill -{number} $$").code == code


def test_orphans_are_reaped(box: Box) -> None:
    ran = box.shell("(sleep 0.05 &) ; sleep 0.2; cat /proc/[0-9]*/status | grep State:")
    assert "Z" not in ran.stdout.split()


def test_stdin_is_fed_and_empty_without(box: Box) -> None:
    assert box.run("cat", stdin=b"one\ntwo").stdout == "one\ntwo"
    assert box.run("cat").stdout == ""


def test_redirects_are_private_files_that_still_give_the_outputs(box: Box) -> None:
    ran = box.shell(
        "echo out; echo err >&2",
        redirect_stdout="o",
        redirect_stderr="/tmp/e",
        cwd="/opt",
        user="daemon",
    )
    assert (ran.stdout, ran.stderr) == ("out\n", "err\n")
    out = ran.upper / "opt/o"
    assert (out.read_text(), (ran.upper / "tmp/e").read_text()) == ("out\n", "err\n")
    assert (stat.S_IMODE(out.stat().st_mode), out.stat().st_uid) == (0o600, 1)


def test_a_redirect_truncates_and_stdin_comes_from_a_file(box: Box) -> None:
    ran = box.run("head", "-1", redirect_stdin="/etc/passwd", redirect_stdout="/etc/group")
    assert ran.stdout == "root:x:0:0:root:/root:/bin/sh\n"
    assert (ran.upper / "etc/group").read_text() == ran.stdout


def test_a_redirect_into_nothing_is_a_failed_set_up(box: Box) -> None:
    with pytest.raises(ExecError, match="/no/err: no such file or directory") as caught:
        box.run("true", redirect_stderr="/no/err")
    assert caught.value.code == -1


def test_a_redirect_through_a_link_stays_inside(box: Box, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    image = tmp_path / "link"
    image.mkdir()
    (image / "out").symlink_to(victim)
    with pytest.raises(ExecError):
        box.shell("echo x", rootfs=box.overlay(box.image, image), redirect_stdout="/out")
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize(
    ("kind", "device"),
    [(stat.S_IFBLK, Path("/").stat().st_dev), (stat.S_IFCHR, os.makedev(1, 11)), (stat.S_IFIFO, 0)],
    ids=["the host's disk", "the kernel's log", "a fifo"],
)
@pytest.mark.parametrize("redirect", ["redirect_stdin", "redirect_stdout", "redirect_stderr"])
def test_a_redirect_never_opens_a_device_of_the_image(
    request: pytest.FixtureRequest, box: Box, tmp_path: Path, kind: int, device: int, redirect: str
) -> None:
    if kind != stat.S_IFIFO:
        request.getfixturevalue("device_nodes")
    # An image may hold any node (mknod(2)); opened by the engine it is the host's own device.
    image = tmp_path / "nodes"
    image.mkdir()
    os.mknod(image / "node", kind | 0o666, device)
    (image / "link").symlink_to("node")
    for path in ("/node", "/link"):
        words: dict[str, Any] = {redirect: path}
        with pytest.raises(ExecError, match="not a regular file") as caught:
            box.run("true", rootfs=box.overlay(box.image, image), **words)
        assert caught.value.code == -1


def test_a_redirect_through_a_dangling_link_creates_its_target(box: Box, tmp_path: Path) -> None:
    image = tmp_path / "link"
    image.mkdir()
    (image / "out").symlink_to("tmp/made")
    ran = box.shell("echo x", rootfs=box.overlay(box.image, image), redirect_stdout="/out")
    assert (ran.upper / "tmp/made").read_text() == "x\n"


def test_secrets_are_scrubbed_from_all_outputs(box: Box) -> None:
    ran = box.shell(
        "echo a $S; sleep 0.1; echo $S >&2; printf %s $S > /leak",
        env=(("S", "hush-hush"),),
        secrets=(b"hush-hush",),
        redirect_stdout="/o",
    )
    assert (ran.stdout, ran.stderr, ran.combined) == ("a ***\n", "***\n", "a ***\n***\n")
    assert (ran.upper / "o").read_text() == "a ***\n"
    assert (ran.upper / "leak").read_text() == "hush-hush"
    assert b"hush" not in b"".join(data for data, _ in ran.pieces)


def test_large_outputs_are_complete(box: Box) -> None:
    ran = box.shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end >&2")
    assert (len(ran.stdout), ran.stderr) == (3000001, "end\n")


def test_isolation_is_the_default(box: Box) -> None:
    ran = box.shell("grep -E 'CapEff|Seccomp:' /proc/self/status; umask; hostname; unshare -m true")
    assert ran.stdout.split() == ["CapEff:", "00000000a80425fb", "Seccomp:", "2", "0022", "dagger"]
    assert "Operation not permitted" in ran.stderr
    assert box.shell("echo x > /proc/sys/kernel/core_pattern").code != 0
    assert box.shell("mount -t tmpfs x /tmp").code != 0


def test_privileged_means_all_that_this_process_may(box: Box) -> None:
    ran = box.shell(
        "grep -E 'CapEff|Seccomp:' /proc/self/status; mount -t tmpfs x /tmp && echo mounted",
        privileged=True,
    )
    own = Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0]
    assert ran.stdout.split() == ["CapEff:", own, "Seccomp:", "0", "mounted"]


def test_no_descriptor_of_the_engine_reaches_the_program(box: Box) -> None:
    leaks = [os.open("/", os.O_RDONLY) for _ in range(20)]
    for descriptor in leaks:
        os.set_inheritable(descriptor, True)
    try:
        ran = box.shell("ls /proc/self/fd", init=False)
    finally:
        for descriptor in leaks:
            os.close(descriptor)
    assert ran.stdout.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_an_image_whose_system_directory_is_a_link_is_refused(
    box: Box, tmp_path: Path, name: str
) -> None:
    image = tmp_path / "link"
    image.mkdir()
    (image / name).symlink_to("/etc")
    with pytest.raises(ExecError, match=f"/{name}: not a directory"):
        box.run("true", rootfs=box.overlay(box.image, image))


def test_cancelling_kills_the_container_and_leaves_nothing(box: Box) -> None:
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        box.shell("trap '' TERM INT; echo up; sleep 60 & sleep 60", cancel=cancel)
    assert time.monotonic() - began < 2.3


def test_a_cancel_that_came_first_starts_no_work(box: Box) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        box.shell("sleep 60", cancel=cancel)


def test_names_of_hosts_and_servers_are_provided_but_not_kept(box: Box) -> None:
    ran = box.shell("cat /etc/hosts; cat /etc/resolv.conf", hosts=(("10.1.2.3", "web"),))
    assert "10.1.2.3\tweb\n" in ran.stdout
    assert Path("/etc/resolv.conf").read_text() in ran.stdout
    assert names(ran.upper) == []


def test_shared_memory_is_writable_and_not_kept(box: Box) -> None:
    assert box.shell("echo x > /dev/shm/x && cat /dev/shm/x").stdout == "x\n"
    assert box.shell("ls /dev/shm").stdout == ""


def test_a_layer_of_many_is_seen_through(box: Box, tmp_path: Path) -> None:
    layers = []
    for number in range(150):
        layer = tmp_path / f"deep{number}"
        layer.mkdir()
        (layer / f"f{number}").touch()
        layers.append(layer)
    ran = box.shell("ls -d /f* | wc -l", rootfs=box.overlay(box.image, *layers))
    assert ran.stdout == "150\n"


def test_certificates_of_the_host_are_used_where_the_image_has_none(
    box: Box, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("host roots\n")
    settings = Settings.from_environ({"HOME": str(tmp_path), "SSL_CERT_FILE": str(bundle)})
    with Runtime.find(settings, tmp_path / "other") as runtime:
        box.runtime, first = runtime, box.runtime
        ran = box.shell("cat /usr/lib/ssl/cert.pem; grep cert /etc/pip.conf; env | grep -c CERT")
        replaced = box.shell("cd /etc/ssl/certs; echo own > new; mv new ca-certificates.crt")
        box.runtime = first
    assert ran.stdout == "host roots\ncert = /etc/ssl/certs/ca-certificates.crt\n0\n"
    assert names(ran.upper) == []
    assert (replaced.upper / "etc/ssl/certs/ca-certificates.crt").read_text() == "own\n"


def test_a_missing_runtime_is_named(tmp_path: Path) -> None:
    settings = Settings.from_environ({"HOME": str(tmp_path), "LAYERLINE_RUNTIME": "no-such-runc"})
    with pytest.raises(RuntimeMissing, match=r"'no-such-runc' not found: .* LAYERLINE_RUNTIME"):
        Runtime.find(settings, tmp_path / "scratch")


def test_a_runtime_that_fails_is_a_failed_set_up(box: Box) -> None:
    with pytest.raises(ExecError, match="hostname") as caught:
        box.run("true", hostname="x" * 300)
    assert caught.value.code == -1
