"""The program that builds a wheel: the backend's rights, and what is normalised and compared.

The hooks are those of PEP 517 and PEP 660; `direct_url.json` is that of PEP 610.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline.environment import program
from layerline.pipeline.programs import build_wheel, sandbox
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("machine_root")

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["tools"]
"""
BACKEND = """\
import os, pathlib, sys, time, zipfile

FILES = {
    "demo/__init__.py": "",
    "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: Demo\\nVersion: 1.0\\n",
    "demo-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}

def build_wheel(output, config_settings=None, metadata_directory=None):
    lines = open("/proc/self/status").read().splitlines()
    status = dict(line.split(":\\t", 1) for line in lines if "\\t" in line)
    files = {**FILES, **MORE(status)}
    names = [*reversed(files), "demo-1.0.dist-info/RECORD"]
    record = "".join(f"{name},,\\n" for name in names)
    name = "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(output) / name, "w") as archive:
        for each in names:
            archive.writestr(zipfile.ZipInfo(each, time.localtime()[:6]), files.get(each, record))
    return name

build_editable = build_wheel
"""
RIGHTS = (
    "lambda status: {'demo/rights': ' '.join("
    "[*status['Uid'].split()[:2], status['CapBnd'], status['NoNewPrivs']])}"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that nobody may enter, which pytest's own are not."""
    found = Path(tempfile.mkdtemp(prefix="layerline-build-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


def source(place: Path, more: str = "lambda status: {}", pyproject: str = PYPROJECT) -> Path:
    """A project whose backend is its own; `more` are further files of the wheel."""
    (place / "source" / "tools").mkdir(parents=True)
    (place / "source" / "pyproject.toml").write_text(pyproject)
    (place / "source" / "tools" / "backend.py").write_text(f"{BACKEND}\nMORE = {more}\n")
    return place / "source"


def build(place: Path, origin: Path, *more: str) -> command.Finished:
    (place / "tmp").mkdir(exist_ok=True, mode=0o755)
    return command.run(
        [sys.executable, build_wheel.__file__, "/usr/bin/python3", origin, place / "out", *more],
        env={**process_environ(), "TMPDIR": str(place / "tmp")},
        expect=None,
    )


def test_a_build_has_no_rights_and_its_wheel_is_the_same_every_time(place: Path) -> None:
    done = build(place, source(place, RIGHTS))
    found = json.loads(done.stdout)
    assert (found["wheel"], found["differ"]) == ("demo==1.0", [])
    wheel = place / "out" / "demo-1.0-py3-none-any.whl"
    first = wheel.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        # Real and effective id, no capability that it could ever get, no new privileges.
        assert archive.read("demo/rights").decode() == "65534 65534 0000000000000000 1"
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist()[-1] == "demo-1.0.dist-info/RECORD"
    text = (place / "out" / "requirements.txt").read_text()
    assert text == f"demo==1.0 --hash=sha256:{found['sha256']}\n"
    build(place, place / "source")
    assert wheel.read_bytes() == first


def test_a_wheel_that_differs_is_named_and_fixed_by_its_hash(place: Path) -> None:
    done = build(place, source(place, "lambda status: {'demo/when': str(time.time_ns())}"))
    found = json.loads(done.stdout)
    assert found["differ"] == ["demo/when"]
    said = "warning: demo==1.0 differs from build to build (demo/when); the image has the wheel "
    assert f"{said}sha256:{found['sha256']}" in done.stderr.decode()
    assert found["sha256"] in (place / "out" / "requirements.txt").read_text()


def test_an_archive_is_unpacked_and_built(place: Path) -> None:
    source(place).rename(place / "demo-1.0")
    (place / "archive").mkdir()
    command.run(["tar", "-czf", "archive/demo-1.0.tar.gz", "demo-1.0"], cwd=place)
    assert json.loads(build(place, place / "archive").stdout)["wheel"] == "demo==1.0"
    # As uv notes it of what it builds itself: layers from before have the same files.
    with zipfile.ZipFile(place / "out" / "demo-1.0-py3-none-any.whl") as archive:
        assert archive.read("demo-1.0.dist-info/uv_build.json") == b"{}"


def test_an_editable_wheel_says_where_its_source_is(place: Path) -> None:
    app = place / "app"
    assert build(place, source(place), str(app)).status == 0
    with zipfile.ZipFile(place / "out" / "demo-1.0-py3-none-any.whl") as archive:
        url = json.loads(archive.read("demo-1.0.dist-info/direct_url.json"))
        record = archive.read("demo-1.0.dist-info/RECORD").decode()
    assert url == {"dir_info": {"editable": True}, "url": f"file://{app}"}
    assert "direct_url.json,sha256=" in record


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("__import__('absent')", "add what has it to build-system.requires, and lock again"),
        ("exec('raise OSError(\"[Errno 2] No such file or directory: \\'gcc\\'\")')", "[base]"),
        # As setuptools says it with the Python of Debian, whose compiler has a name of its own.
        (
            "exec('raise OSError(\"[Errno 2] No such file or directory: "
            "\\'x86_64-linux-gnu-gcc\\'\")')",
            'a compiler is missing: add build_packages = ["build-essential"',
        ),
        ("exec('raise OSError(\"[Errno 101] Network is unreachable\")')", "a build has no network"),
    ],
)
def test_a_build_that_fails_says_what_to_write(place: Path, more: str, said: str) -> None:
    done = build(place, source(place, more))
    assert done.status == 1
    last = done.stderr.decode().split("the wheel cannot be built\n")[1]
    assert said in last


def test_a_build_has_no_network_though_its_step_has(place: Path) -> None:
    # systemd.exec(5), RestrictAddressFamilies; the loopback is up here, and without a filter each
    # of these sockets is made.
    names = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_VSOCK", "AF_UNIX")
    more = f"lambda status: {{'demo/' + n: REACH(getattr(socket, n)) for n in {names}}}"
    origin = source(place, more)
    with (origin / "tools" / "backend.py").open("a") as file:
        file.write(REACH)
    assert build(place, origin).status == 0
    with zipfile.ZipFile(place / "out" / "demo-1.0-py3-none-any.whl") as archive:
        found = [archive.read(f"demo/{name}").decode() for name in names]
    assert found == ["ENETUNREACH"] * 4 + ["made"]


REACH = """
import errno, socket

def REACH(family):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 16 else socket.SOCK_STREAM).close()
    except OSError as exc:
        return errno.errorcode[exc.errno]
    return "made"
"""


def test_the_filter_holds_for_each_way_to_a_socket(place: Path) -> None:
    # io_uring opens sockets (IORING_OP_SOCKET), and so do the calls of the x32 ABI.
    code = (
        "import ctypes, errno\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "for call in (425, 0x40000000 + 41):\n"
        "    print(libc.syscall(call, 2, 1, 0), errno.errorcode[ctypes.get_errno()])\n"
    )
    argv = [sys.executable, sandbox.__file__, "/usr/bin/python3", "-c", code]
    assert command.run(argv, cwd=place).stdout == b"-1 ENOSYS\n-1 ENOSYS\n"


def test_a_wheel_is_kept_by_its_hash_and_taken_again(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "volume").mkdir()
    (tmp_path / "built" / "demo-1.0-py3-none-any.whl").write_bytes(b"wheel")
    digest = hashlib.sha256(b"wheel").hexdigest()

    def run(action: str, wanted: str, place: str) -> command.Finished:
        argv: list[str | Path] = [
            "sh",
            "-s",
            "--",
            action,
            tmp_path / "volume",
            wanted,
            tmp_path / place,
        ]
        return command.run(argv, stdin=program("kept_wheel.sh").encode(), expect=None)

    assert run("take", digest, "taken").stderr.decode() == (
        f"the wheel sha256:{digest} is not in the cache volume\n"
    )
    assert run("keep", digest, "built").status == 0
    assert run("keep", digest, "built").status == 0
    assert run("take", digest, "taken").status == 0
    assert [each.name for each in (tmp_path / "taken").iterdir()] == ["demo-1.0-py3-none-any.whl"]
    # What somebody has changed in the volume is not taken.
    [kept] = (tmp_path / "volume").glob("*/*.whl")
    kept.write_bytes(b"other")
    assert run("take", digest, "changed").status != 0


def test_what_a_build_leaves_running_is_ended_with_it(place: Path) -> None:
    code = (
        "import os, sys, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if daemon := os.fork():\n"
        "        print(daemon, flush=True)\n"
        "        os._exit(0)\n"
        "    time.sleep(600)\n"
        "os.wait()\n"
        "sys.exit(3)\n"
    )
    argv = [sys.executable, sandbox.__file__, "/usr/bin/python3", "-c", code]
    done = command.run(argv, cwd=place, expect=None)
    assert done.status == 3
    assert not Path(f"/proc/{int(done.stdout)}").exists()
