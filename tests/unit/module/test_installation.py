"""A module's environment is made without running a line of its packages on the host."""

from __future__ import annotations

import io
import sys
import tarfile
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from layerline.engine.module.installation import SDK_VERSION, Installation
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


def write_project(source: Path, *needs: str, more: str = "") -> None:
    """A project whose module is `main`."""
    source.mkdir(parents=True)
    listed = ", ".join(f'"{need}"' for need in needs)
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "main"\nversion = "1"\ndependencies = [{listed}]\n{more}'
    )
    (source / "main.py").touch()


def install(tmp_path: Path, *needs: str) -> Path:
    """The environment of a module that needs packages of `tmp_path/links`."""
    write_project(tmp_path / "source", *needs)
    return install_source(tmp_path)


def install_source(tmp_path: Path, subpath: str = ".") -> Path:
    """The environment of the module at `tmp_path/source`."""
    source = tmp_path / "source"
    (tmp_path / "links").mkdir(exist_ok=True)
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
            project=read_project(source / subpath, "main"),
            settings=settings,
            source=source,
            subpath=subpath,
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


def versions(place: Path) -> dict[str, str]:
    """What is installed, by name."""
    found = (path.name.removesuffix(".dist-info") for path in place.glob("lib/*/*/*.dist-info"))
    return dict(name.rpartition("-")[::2] for name in found)


BUILT = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
BUILT += '[tool.hatch.build.targets.wheel]\ninclude = ["main.py"]\n'
BUILT += '[tool.uv.sources]\nunused = {index = "unused"}\n'


def test_the_sdk_is_the_engines_whatever_is_pinned(tmp_path: Path) -> None:
    """Dagger installs the engine's SDK (sdk/python/runtime) next to the module."""
    write_project(tmp_path / "source", "dagger-io==0.18.19", more=BUILT)
    assert versions(install_source(tmp_path))["dagger_io"] == SDK_VERSION


@pytest.mark.parametrize("hashed", [False, True])
def test_an_old_lock_is_updated_for_what_the_sdk_needs(tmp_path: Path, *, hashed: bool) -> None:
    """dagger-io 0.21 needs a newer beartype; what it does not contradict stays as it is locked."""
    write_project(tmp_path / "source", "dagger-io", "iniconfig")
    locked = "beartype==0.20.0\niniconfig==2.0.0\ndagger-io==0.18.0\n"
    if hashed:
        digest = "b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"
        locked = locked.replace(
            "iniconfig==2.0.0", f"iniconfig==2.0.0 \\\n    --hash=sha256:{digest}"
        )
    (tmp_path / "source" / "requirements.lock").write_text(locked)
    found = versions(install_source(tmp_path))
    assert found["iniconfig"] == "2.0.0"
    assert found["beartype"] != "0.20.0"
    assert found["dagger_io"].startswith("0.21")


SDK_IN_A_DIRECTORY = 'dagger-io = { path = "sdk", editable = true }\n'
BACKEND = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


@pytest.mark.parametrize(
    "source", ['{ path = "../iniconfig" }', "{ workspace = true }"], ids=["path", "workspace"]
)
def test_a_source_of_a_package_comes_before_the_index(tmp_path: Path, source: str) -> None:
    """The index has an iniconfig, too: another package, by a stranger."""
    more = f"[tool.uv.sources]\n{SDK_IN_A_DIRECTORY}iniconfig = {source}\n{BACKEND}"
    write_project(tmp_path / "source" / "ci", "dagger-io", "iniconfig", more=more)
    own = tmp_path / "source" / "iniconfig"
    own.mkdir()
    (own / "pyproject.toml").write_text(f'[project]\nname = "iniconfig"\nversion = "99"\n{BACKEND}')
    (own / "iniconfig.py").write_text("OURS = True\n")
    if "workspace" in source:
        (tmp_path / "source" / "pyproject.toml").write_text(
            '[tool.uv.workspace]\nmembers = ["ci", "iniconfig"]\n'
        )
    place = install_source(tmp_path, "ci")
    assert versions(place)["iniconfig"] == "99"
    assert list(place.glob("lib/*/site-packages/iniconfig.py")), "no link to where it was built"


def test_the_installer_is_configured_by_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `uv.toml` where the user happens to be, which uv would write by as the user."""
    (tmp_path / "links").mkdir()
    here = tmp_path / "here"
    here.mkdir()
    (here / "uv.toml").write_text(f'cache-dir = "{tmp_path / "chosen-by-a-repository"}"\n')
    monkeypatch.chdir(here)
    install(tmp_path, "six")
    assert not (tmp_path / "chosen-by-a-repository").exists()


def test_an_option_is_no_requirement(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    target = tmp_path / "target"
    with pytest.raises(ModuleError, match="cannot be installed"):
        install(tmp_path, f"--target={target}")
    assert not target.exists()
