"""The program that builds a wheel: the backend's rights, and what is normalised and compared.

The hooks are those of PEP 517 and PEP 660; `direct_url.json` is that of PEP 610.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline import environment
from layerline.pipeline.environment import program
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def build(place: Path, origin: Path, *more: str, before: Sequence[str] = ()) -> command.Finished:
    (place / "tmp").mkdir(exist_ok=True, mode=0o755)
    argv = [*before, sys.executable, "-c", program("build_wheel.py"), "/usr/bin/python3"]
    return command.run(
        [*argv, origin, place / "out", *more],
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
        ("exec('raise OSError(\"[Errno 101] Network is unreachable\")')", "a build has no network"),
    ],
)
def test_a_build_that_fails_says_what_to_write(place: Path, more: str, said: str) -> None:
    done = build(place, source(place, more))
    assert done.status == 1
    last = done.stderr.decode().split("the wheel cannot be built\n")[1]
    assert said in last


def test_a_build_that_has_a_network_says_so(place: Path) -> None:
    said = "warning: this engine cannot take the network from the build"
    devices = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    has_network = any(not line.strip().startswith("lo:") for line in devices)
    origin = source(place)
    assert (said in build(place, origin).stderr.decode()) is has_network
    alone = build(place, origin, before=environment.SANDBOX[:3])
    assert alone.status == 0
    assert said not in alone.stderr.decode()
