"""Both modules install as the Dagger engine's Python runtime installs them.

There uv is `/usr/local/bin/uv` and installs into `/usr/local`, a virtual environment; `sdk` beside
the project is the client library's source, and the module's source is what its dagger.json selects.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.image.bootstrap import Recipe, bootstrap
from layerline.engine.module.host_files import read_directory
from layerline.engine.module.source import read_config
from layerline.engine.solve.ops import Stored
from layerline.engine.store.store import Store
from layerline.errors import BootstrapFailed, CommandFailed, ProgramMissing
from layerline.settings import process_environ
from tests.integration.conftest import Call, Project

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

HOME = Path(__file__).parents[2]
# The runtime's own.
UV = "uv==0.10.3"
SDK = "dagger-io==0.21.8"
# What the modules' distributions need, to be built and to run; and uv for the one that fails.
NEEDS = ("hatchling", "editables", "uv_build", "anyio", "pydantic", "uv")
SECONDS = 600.0
PYTHONS = {"3.11": "bookworm", "3.13": "trixie"}
# The tool's dependencies that a module has no use for.
HEAVY = {"uv", "layerline", "starlette", "uvicorn", "pathspec", "isal", "zstandard"}
CHECK = """\
import importlib.metadata as m, json
[point] = m.entry_points(group="dagger.mod")
found = point.load()
names = sorted(each.metadata["Name"].lower() for each in m.distributions())
print(json.dumps({"object": found.__name__, "module": found.__module__, "installed": names}))
"""
PROGRAM = """\
import sys
import anyio
import dagger
from dagger import dag

root, work, wheels, code, check = sys.argv[1:]

async def main():
    async with dagger.connection(dagger.Config(log_output=sys.stderr)):
        host = dag.host()
        base = (
            dag.container()
            .with_rootfs(host.directory(root))
            .with_env_variable("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .with_env_variable("VIRTUAL_ENV", "/usr/local")
            .with_env_variable("UV_LINK_MODE", "copy")
            .with_env_variable("UV_NO_INDEX", "1")
            .with_env_variable("UV_FIND_LINKS", "/wheels")
            .with_directory("/wheels", host.directory(wheels))
            .with_exec(["python3", "-m", "venv", "--without-pip", "/usr/local"])
            .with_file("/usr/local/bin/uv", host.file(work + "/uv"), permissions=0o755)
            .with_directory("/src", host.directory(work + "/source"))
            .with_directory(f"/src/{code}/sdk", host.directory(work + "/sdk"))
            .with_workdir(f"/src/{code}")
            .with_exec(["uv", "pip", "install", "-e", "./sdk", "-e", "."])
            .with_exec(["uv", "pip", "check"])
            .with_workdir("/")
        )
        print(await base.with_exec(["python", "-c", check]).stdout(), end="")

anyio.run(main)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A distribution's root file system, wheels for its Python, and the client library's source."""

    root: Path
    wheels: Path
    sdk: Path
    uv: Path

    def install(self, project: Project, module: Path) -> Call:
        """Install what a module's dagger.json selects, and import its entry point."""
        work = project.home / "work"
        config = read_config(module)
        with Store.open(project.home / "reading") as store:
            found = read_directory(
                *(store, config.context), include=config.include_patterns(), gitignore=True
            ).tree
            assert isinstance(found, Stored)
            shutil.copytree(store.snapshots.path(found.snapshots[0]), work / "source")
        shutil.copy(self.uv, work / "uv")
        shutil.copytree(self.sdk, work / "sdk")
        program = project.home / "program.py"
        program.write_text(PROGRAM)
        code = config.code.relative_to(config.context).as_posix()
        words = (str(self.root), str(work), str(self.wheels), code, CHECK)
        return project.call("run", "--", sys.executable, str(program), *words, timeout=SECONDS)


@pytest.fixture(scope="module", params=PYTHONS)
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    version = request.param
    place = tmp_path_factory.mktemp(f"python{version}")
    recipe = Recipe(
        distribution="debian", suite=PYTHONS[version], slim=True, packages=("python3-venv",)
    )
    (place / "root").mkdir()
    try:
        bootstrap(recipe, place / "root", scratch=place)
    except (BootstrapFailed, ProgramMissing) as exc:
        pytest.skip(f"Debian {PYTHONS[version]} with Python {version} cannot be had: {exc}")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest"]
    run(*download, place / "source", "--no-deps", "--no-binary", "dagger-io", SDK)
    fitting = ("--only-binary", ":all:", "--python-version", version)
    run(*download, place / "wheels", *fitting, SDK, *NEEDS)
    [archive] = (place / "source").glob("dagger_io-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(place / "sdk", filter="data")
    [sdk] = (place / "sdk").iterdir()
    # The member of its workspace that the source distribution names and leaves out.
    (sdk / "codegen").mkdir(exist_ok=True)
    (sdk / "codegen/pyproject.toml").write_text('[project]\nname = "codegen"\nversion = "0"\n')
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", place / "uv", UV)
    uv = place / "uv/bin/uv"
    return Runtime(root=place / "root", wheels=place / "wheels", sdk=sdk, uv=uv)


def run(*argv: str | Path, env: Mapping[str, str] | None = None) -> None:
    try:
        command.run(list(argv), env=env or process_environ(), timeout=SECONDS)
    except CommandFailed as exc:
        pytest.fail(exc.stderr)


@pytest.fixture
def place(tmp_path: Path, environ: dict[str, str]) -> Project:
    (tmp_path / "work").mkdir()
    return Project(home=tmp_path, environ=environ)


@pytest.mark.parametrize(
    ("module", "imported"),
    [(HOME, "ci.main"), (HOME / "src/layerline/pipeline", "layerline.pipeline.main")],
    ids=["ci", "pipeline"],
)
def test_a_module_installs_without_the_tool(
    runtime: Runtime, place: Project, module: Path, imported: str
) -> None:
    done = runtime.install(place, module)
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["object"], found["module"]) == ("Layerline", imported)
    assert HEAVY.isdisjoint(found["installed"])


def test_a_distribution_that_needs_uv_is_found_out(runtime: Runtime, place: Project) -> None:
    module = place.home / "needy"
    shutil.copytree(HOME / "tests/cli/layout", module)
    command.run(["git", "init", "--quiet", module])
    path = module / "ci/pyproject.toml"
    path.write_text(path.read_text().replace('"dagger-io", ', '"dagger-io", "uv", '))
    done = runtime.install(place, module)
    # The real engine fails there, with "Text file busy"; here uv replaces itself.
    assert done.status == 0, done.stderr
    assert "uv" in json.loads(done.stdout)["installed"]
