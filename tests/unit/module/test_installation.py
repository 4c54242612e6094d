"""A module's environment is made without running a line of its packages on the host."""

from __future__ import annotations

import io
import sys
import tarfile
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from layerline.engine.module.installation import Installation
from layerline.engine.module.process import ProcessResult, run_program
from layerline.engine.module.project import read_project
from layerline.engine.runtime.container import Runtime
from layerline.engine.runtime.service import Services
from layerline.errors import ModuleError
from layerline.settings import Settings, process_environ

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.runtime.spec import ContainerSpec

pytestmark = [pytest.mark.privileged, pytest.mark.network]

# What runs shows itself: a file where it is, which on the host is next to the test's directory.
MARK = "import pathlib; pathlib.Path({marker!r}).parent.mkdir(parents=True, exist_ok=True); "
MARK += "pathlib.Path({marker!r}).write_text('ran')"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
SETUP = "{mark}\nfrom setuptools import setup\nsetup(name='layerlinebuilt', version='1.0')\n"


def add_wheel(directory: Path, marker: Path) -> None:
    """A wheel whose `.pth` file Python executes at each start."""
    info = "layerlinestarted-1.0.dist-info"
    with zipfile.ZipFile(directory / "layerlinestarted-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("layerlinestarted.pth", MARK.format(marker=str(marker)) + "\n")
        wheel.writestr(f"{info}/METADATA", METADATA.format(name="layerlinestarted"))
        wheel.writestr(f"{info}/WHEEL", WHEEL)
        wheel.writestr(f"{info}/RECORD", "layerlinestarted.pth,,\n")


def add_source(directory: Path, marker: Path) -> None:
    """A source distribution whose `setup.py` runs when it is built."""
    files = {
        "PKG-INFO": METADATA.format(name="layerlinebuilt"),
        "setup.py": SETUP.format(mark=MARK.format(marker=str(marker))),
    }
    with tarfile.open(directory / "layerlinebuilt-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"layerlinebuilt-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


def install(tmp_path: Path, *needs: str) -> Path:
    """The environment of a module that needs packages of `tmp_path/links`."""
    source = tmp_path / "source"
    source.mkdir()
    listed = ", ".join(f'"{need}"' for need in needs)
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "main"\nversion = "1"\ndependencies = [{listed}]\n'
    )
    (source / "main.py").touch()
    scratch = tmp_path / "install"
    scratch.mkdir()
    environ = {**process_environ(), "HOME": str(tmp_path), "UV_FIND_LINKS": str(tmp_path / "links")}
    settings = Settings.from_environ(environ)
    with (
        Runtime.find(settings, tmp_path / "scratch", files=tmp_path) as runtime,
        Services(runtime) as services,
    ):

        def run(spec: ContainerSpec) -> ProcessResult:
            with services.join(spec) as joined:
                return run_program(
                    joined,
                    runtime,
                    on_output=lambda _data, _stream: None,
                    cancel=threading.Event(),
                )

        installation = Installation(
            project=read_project(source, "main"),
            settings=settings,
            source=source,
            scratch=scratch,
            run=run,
        )
        return installation.make()


@pytest.mark.parametrize("name", ["layerlinestarted", "layerlinebuilt"])
def test_code_of_a_package_runs_in_a_container_alone(tmp_path: Path, name: str) -> None:
    links = tmp_path / "links"
    links.mkdir()
    marker = tmp_path / "marker" / "ran"
    (add_wheel if name == "layerlinestarted" else add_source)(links, marker)
    place = install(tmp_path, name)
    packages = next(place.glob("lib/python*/site-packages"))
    assert list(packages.glob(f"{name}-1.0*"))
    assert list(packages.glob("dagger/__pycache__/*.pyc")), "bytecode is compiled"
    assert not marker.exists()


def test_what_cannot_be_installed_is_said(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    with pytest.raises(ModuleError, match="dependencies of module 'main' cannot be installed"):
        install(tmp_path, f"no-such-package-{sys.version_info[1]}-layerline")
