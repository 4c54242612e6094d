"""Each check of the machine sees its condition, and is content where all is well."""

from __future__ import annotations

import http.server
import os
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command, kernel
from layerline.doctor.checks import disk
from layerline.doctor.checks.rootless import check_user_namespaces
from layerline.doctor.finding import Severity
from layerline.doctor.subject import GB, Limits
from layerline.engine.store.store import Store
from layerline.host import shifts_owners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.doctor.conftest import Host


def test_a_healthy_kernel_is_no_wsl(host: Host) -> None:
    assert host.look("wsl-version").status == "skipped"


@pytest.mark.parametrize(
    ("release", "status"),
    [
        ("4.4.0-22621-Microsoft", "found"),
        ("5.15.153.1-microsoft-standard-WSL2", "ok"),
    ],
)
def test_wsl_1_is_told_from_wsl_2(host: Host, release: str, status: str) -> None:
    host.kernel("sys/kernel/osrelease", release + "\n")
    assert host.look("wsl-version").status == status


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("C:\\134 {at} 9p rw,aname=drvfs;path=C:\\134,uid=1000,trans=fd 0 0", Severity.HIGH),
        ("drvfs {at} virtiofs rw,noatime 0 0", Severity.HIGH),
        ("C: {at} drvfs rw,noatime 0 0", Severity.HIGH),
        ("share {at} 9p rw,trans=virtio 0 0", Severity.MEDIUM),
        ("server:/x {at} nfs4 rw 0 0", Severity.MEDIUM),
        ("/dev/sdb1 {at} ext4 rw 0 0", None),
    ],
)
def test_the_type_of_the_mount_decides(host: Host, line: str, severity: Severity | None) -> None:
    at = str(host.project.parent).replace(" ", "\\040")
    host.kernel("mounts", f"/dev/sda1 / ext4 rw 0 0\n{line.format(at=at)}\n")
    found = host.look("wsl-source").findings
    assert [each.severity for each in found] == ([severity] if severity else [])


def test_a_linux_disk_below_mnt_is_fine_and_the_later_mount_counts(host: Host) -> None:
    at = host.project
    host.kernel("mounts", f"C: {at} 9p rw,aname=drvfs;path=C: 0 0\n/dev/sdc {at} ext4 rw 0 0\n")
    assert host.look("wsl-source").status == "ok"


@pytest.fixture
def small_disk(tmp_path: Path, loop_mounts: None) -> Iterator[Path]:  # noqa: ARG001
    """A file system of 64 MB in a file, with few inodes."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    image.touch()
    os.truncate(image, 64 << 20)
    command.run(["mkfs.ext4", "-q", "-N", "256", image])
    command.run(["mount", "-o", "loop", image, place])
    yield place
    command.run(["umount", place])


def test_a_nearly_full_disk_is_critical(host: Host, small_disk: Path) -> None:
    result = host.look("disk-space", store=small_disk / "store")
    found = [each for each in result.findings if each.facts["path"] == str(small_disk)]
    assert [each.severity for each in found] == [Severity.CRITICAL]
    assert found[0].facts["free"] < 64 << 20


def test_a_disk_without_inodes_is_seen_though_bytes_are_free(host: Host, small_disk: Path) -> None:
    assert str(small_disk) not in str(host.look("disk-inodes", store=small_disk).findings)
    for number in range(240):
        (small_disk / str(number)).touch()
    found = host.look("disk-inodes", store=small_disk).findings
    assert [each.facts["path"] for each in found] == [str(small_disk)]


def test_enough_space_is_20_gb(host: Host) -> None:
    assert Limits().free == 20 * GB
    assert host.look("disk-space", limits=Limits(free=1, free_critical=0)).status == "ok"


def test_the_forecast_adds_up_the_locks(host: Host) -> None:
    assert host.look("disk-forecast").status == "skipped"
    host.write("locks/cpu.txt", "torch==2.13.0 --hash=sha256:00\nnumpy==2.1.0\n")
    cuda = "torch==2.13.0\nnvidia-cublas==13.1\nnvidia-cudnn-cu13==9.1\n"
    assert disk.forecast(cuda) > disk.forecast("torch==2.13.0\n") > 2 * GB
    [free] = {volume.free for volume in disk.volumes(host.subject()) if "store" in volume.uses}
    status = "found" if free < disk.forecast("torch==2.13.0\nnumpy==2.1.0\n") else "ok"
    assert host.look("disk-forecast").status == status
    host.write("locks/big.txt", "torch==1\n" * 1_000_000)
    assert host.look("disk-forecast").status == "found"


CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUMjp5TBf2svI7yILDQ8Dx/Lr/fgYwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjIwMTEwMzNaGA8yMTI2MTAyOTAxMTAz
M1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDUA
ElZzp2N4hV+qfXwYD+C9RZid6FwSJ5F2Mr3jGQhesC94qTABCENJcv5HEFrGU1DF
9VlXmxIhlmzuEJUNuR2jUzBRMB0GA1UdDgQWBBQ/2hHQ28Ka6EfWnytf+1iwkpSR
mTAfBgNVHSMEGDAWgBQ/2hHQ28Ka6EfWnytf+1iwkpSRmTAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQCfJ3TdR3Xitd01uFRmoPi8qZA5qLdNRJ+b
YKeEc4yHegIhAMUU4bKzFqEZRmtqkrm89MEJ2W2NTiWYfy361jne9KGe
-----END CERTIFICATE-----
"""


def test_no_certificates_broken_ones_and_one_that_is_fine(host: Host) -> None:
    assert host.look("ca-certificates").status == "found"
    bundle = host.etc / "ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    assert "cannot be read" in host.look("ca-certificates").findings[0].seen
    bundle.write_text(CERTIFICATE)
    assert host.look("ca-certificates").status == "ok"


def test_the_bundle_that_is_named_counts(host: Host) -> None:
    host.environ["SSL_CERT_FILE"] = str(host.etc / "gone.pem")
    assert "gone.pem" in host.look("ca-certificates").findings[0].seen


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"http_proxy": "proxy:3128"}, "not a URL"),
        ({"https_proxy": "http://127.0.0.1:9"}, "nothing listens"),
        ({"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:1"}, "differ"),
        ({"http_proxy": "http://a:1"}, "does not name localhost"),
        ({"http_proxy": "http://a:1", "no_proxy": "localhost,127.0.0.1"}, ""),
    ],
)
def test_proxies_that_cannot_work(host: Host, environ: dict[str, str], said: str) -> None:
    host.environ.update(environ)
    result = host.look("proxy")
    assert said in " ".join(each.seen for each in result.findings)
    assert (result.status == "found") == bool(said)


def test_no_proxy_is_nothing_to_check_and_passwords_are_not_shown(host: Host) -> None:
    assert host.look("proxy").status == "skipped"
    host.environ["http_proxy"] = "http://me:secret@127.0.0.1:9"
    assert "secret" not in host.look("proxy").findings[0].seen


class Clock(http.server.BaseHTTPRequestHandler):
    """A registry whose clock is wrong by `skew` seconds."""

    skew = 0.0

    def do_HEAD(self) -> None:
        self.send_response_only(401)
        self.send_header("Date", formatdate(time.time() + self.skew, usegmt=True))
        self.end_headers()


@pytest.mark.parametrize(("skew", "way"), [(0, ""), (-7200, "ahead of"), (7200, "behind")])
def test_the_clock_is_compared_with_a_server(host: Host, skew: float, way: str) -> None:
    handler = type("Skewed", (Clock,), {"skew": skew})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = f"http://127.0.0.1:{server.server_port}"
        host.environ["LAYERLINE_REGISTRY_MIRRORS"] = f"docker.io={url}"
        found = host.look("clock").findings
        dns = host.look("dns")
        server.shutdown()
    assert [way in each.seen for each in found] == ([True] if way else [])
    assert dns.status == "ok"


def test_without_a_server_files_of_the_future_tell(host: Host) -> None:
    host.environ["LAYERLINE_REGISTRY_MIRRORS"] = "docker.io=http://127.0.0.1:9"
    host.write("file", "")
    assert host.look("clock").status == "ok"
    os.utime(host.project / "file", (time.time() + 90_000,) * 2)
    assert "in the future" in host.look("clock").findings[0].seen


def test_a_name_that_nobody_knows(host: Host) -> None:
    host.environ["LAYERLINE_REGISTRY_MIRRORS"] = "docker.io=http://nowhere.invalid"
    (host.etc / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    found = host.look("dns").findings
    assert found[0].facts["servers"] == ["192.0.2.1"]


def test_a_definition_without_locks_is_enough_to_forecast(host: Host) -> None:
    text = '[targets.cpu]\n[targets.cu13]\ncuda = "13"\n[groups.x]\nrequirements = ["torch==2.*"]\n'
    needs = disk.forecast_definition(text)
    assert list(needs) == ["cpu", "cu13"]
    assert needs["cu13"] > 2 * needs["cpu"] > 2 * GB
    host.write("layerline.toml", text)
    assert host.look("disk-forecast").status in ("ok", "found")
    host.kernel("driver/nvidia/version", "NVRM version: Kernel Module  570.1\n")
    assert host.look("gpu-driver").findings[0].facts["cuda"] == 13


def test_driver_against_the_targets_cuda(host: Host) -> None:
    assert host.look("gpu-driver").status == "skipped"
    host.write("locks/cu13.txt", "")
    assert host.look("gpu-driver").findings[0].severity is Severity.INFO
    for driver, status in (("570.124.06", "found"), ("580.65.06", "ok")):
        text = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Wed Jul 16\n"
        host.kernel("driver/nvidia/version", text)
        assert host.look("gpu-driver").status == status


def test_the_container_toolkit(host: Host) -> None:
    assert host.look("gpu-toolkit").status == "skipped"
    host.kernel("driver/nvidia/version", "NVRM version: Kernel Module  580.65.06\n")
    assert host.look("gpu-toolkit").status == "found"
    host.program("nvidia-ctk")
    assert host.look("gpu-toolkit").status == "ok"


def test_cgroups_and_seccomp(host: Host) -> None:
    assert host.look("cgroups").status == host.look("seccomp").status == "ok"
    host.kernel("mounts", "/dev/sda1 / ext4 rw 0 0\n")
    (host.proc / "sys/kernel/seccomp/actions_avail").unlink()
    assert host.look("cgroups").status == host.look("seccomp").status == "found"


def test_an_ordinary_user_needs_ranges_of_ids(host: Host) -> None:
    assert host.look("subordinate-ids", uid=0).status == "skipped"
    (host.etc / "subuid").write_text("other:100000:65536\n54321:300000:10\n")
    found = host.look("subordinate-ids", uid=54321).findings
    assert [(each.facts["file"], each.facts["ids"]) for each in found] == [
        ("subuid", 10),
        ("subgid", 0),
    ]
    # A range that nobody has yet, after the last one.
    span = "300010-365545"
    wanted = f"sudo usermod --add-subuids {span} --add-subgids {span} 54321"
    assert {each.commands for each in found} == {(wanted,)}
    for name in ("subuid", "subgid"):
        (host.etc / name).write_text("54321:100000:65536\n")
    assert host.look("subordinate-ids", uid=54321).status == "ok"


def test_a_user_of_a_pod_has_all_ids_but_two(host: Host) -> None:
    # Kubernetes gives a pod with a user namespace 65,536 ids; root's and the user's own are not
    # the user's to map: https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/
    for name in ("subuid", "subgid"):
        (host.etc / name).write_text("54321:1001:64535\n54321:1:999\n")
    assert host.look("subordinate-ids", uid=54321).status == "ok"


# What containerd and moby leave of root's capabilities, and all of them.
@pytest.mark.parametrize(("bound", "status"), [(0xA80425FB, "found"), (0x1FFFFFFFFFF, "ok")])
def test_a_setuid_program_cannot_map_ids_where_root_has_few_capabilities(
    host: Host, bound: int, status: str
) -> None:
    for name in ("subuid", "subgid"):
        (host.etc / name).write_text("54321:100000:65536\n")
    host.kernel("self/status", f"Name:\tx\nCapBnd:\t{bound:016x}\n")
    host.program("newuidmap")
    (host.programs / "newuidmap").chmod(0o4755)
    found = host.look("subordinate-ids", uid=54321, programs=str(host.programs))
    assert found.status == status
    program = host.programs / "newuidmap"
    wanted = (f"sudo chmod u-s {program}", f"sudo setcap cap_setuid+ep {program}")
    assert [each.commands for each in found.findings] == [wanted] * (status == "found")


def test_a_runtime_that_is_not_there(host: Host) -> None:
    host.environ["LAYERLINE_RUNTIME"] = "no-such-runtime"
    assert "no-such-runtime" in host.look("engine-runtime").findings[0].seen


@pytest.mark.usefixtures("root")  # for chroot(2)
def test_user_namespaces_that_are_refused_name_the_setting(host: Host) -> None:
    host.kernel("sys/user/max_user_namespaces", "0\n")
    host.kernel("sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
            # The kernel refuses user namespaces to who is in a chroot.
            os.chroot(host.proc.parent)
            subject = replace(host.subject(), proc=Path("/", host.proc.name))
            [found] = check_user_namespaces(subject)
            os.write(writer, "\n".join((found.text, *found.commands)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as said:
        seen, *commands = said.read().splitlines()
    settings = "kernel.apparmor_restrict_unprivileged_userns=1, user.max_user_namespaces=0"
    assert seen == f"user namespaces are refused ({settings})"
    # https://gitlab.com/apparmor/apparmor/-/wikis/unprivileged_userns_restriction
    assert "'profile layerline " in commands[0]
    assert " flags=(unconfined) {' '  userns,' " in commands[0]
    assert commands[1:] == [
        "sudo apparmor_parser --replace /etc/apparmor.d/layerline",
        "sudo sysctl -w user.max_user_namespaces=28633",
    ]
    assert host.look("user-namespaces").status in ("ok", "found")


def test_the_store_is_asked_about_by_its_own_command(host: Host, tmp_path: Path) -> None:
    place = tmp_path / "store"
    assert host.look("store", store=place).status == "skipped"
    with Store.open(place):
        pass
    assert host.look("store", store=place).reason == "Layerline is not installed yet"
    printed = '{"problems": [{"kind": "blob", "name": "0", "what": "has other bytes"}]}'
    host.program("tool", f"echo '{printed}'; exit 1")
    tool = (str(host.programs / "tool"),)
    assert "has other bytes" in host.look("store", store=place, tool=tool).findings[0].seen
    host.program("tool", "echo '{\"problems\": []}'")
    assert host.look("store", store=place, tool=tool).status == "ok"
    host.program("tool", "echo broken >&2; exit 1")
    found = host.look("store", store=place, tool=tool).findings
    assert [each.severity for each in found] == [Severity.HIGH]


@pytest.mark.usefixtures("shifted_owners")
def test_where_owners_cannot_be_shifted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shifts_owners(host.proc)  # a directory of the test's file system, by trying
    assert not shifts_owners(Path("/proc"))
    assert host.look("shifted-owners", uid=0).status == "ok"
    monkeypatch.setattr("layerline.host.shifts_owners", lambda _directory: False)
    assert host.look("shifted-owners", uid=0).status == "found"
    assert host.look("shifted-owners", uid=1000).status == "ok"
