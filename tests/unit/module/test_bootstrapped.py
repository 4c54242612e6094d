"""Pythons of Debian and Ubuntu for modules that need one which is not installed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.engine.image.bootstrap import Recipe
from layerline.engine.image.reference import Reference
from layerline.engine.module.container import describe_container
from layerline.engine.module.environment import environment_key
from layerline.engine.module.interpreters import BOOTSTRAPPED, bootstrapped_for
from layerline.settings import Settings
from tests.unit.module.test_environment import PROJECT

if TYPE_CHECKING:
    from tests.conftest import CommandLine

MODULE = """\
import sys
import dagger
from dagger import dag, function, object_type

@object_type
class Newer:
    @function
    async def python(self) -> str:
        text = await dag.directory().with_new_file("f", "x").file("f").contents()
        return f"{sys.version_info[0]}.{sys.version_info[1]} {text}"
"""


@pytest.mark.parametrize(
    ("requires", "pinned", "suite"),
    [
        ("==3.13.*", "", "trixie"),
        (">=3.14", "", "resolute"),
        (">=3.12,<3.13", "", "noble"),
        ("", "3.12", "noble"),
        ("", "3.13.5", "trixie"),
        (">=3.12", "3.14", "resolute"),
        ("~=3.10.4", "3.12", "jammy"),
    ],
)
def test_the_release_that_has_the_python(requires: str, pinned: str, suite: str) -> None:
    found = bootstrapped_for(replace(PROJECT, requires_python=requires, python_version=pinned))
    assert found is not None
    assert found.suite == suite


@pytest.mark.parametrize(("requires", "pinned"), [(">=3.99", ""), ("", "3.9"), ("", "3.99")])
def test_no_release_has_it(requires: str, pinned: str) -> None:
    project = replace(PROJECT, requires_python=requires, python_version=pinned)
    assert bootstrapped_for(project) is None


def test_releases_are_those_of_base_images() -> None:
    for each in BOOTSTRAPPED:
        recipe = Recipe.of(Reference.parse(f"{each.distribution}:{each.suite}"))
        assert recipe is not None
        assert recipe.suite == each.suite


def test_the_environment_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerline.engine.module.interpreters.installed_interpreters", tuple)
    other = "3.12" if sys.version_info[:2] == (3, 13) else "3.13"
    project = replace(PROJECT, requires_python=f"=={other}.*")
    own = replace(PROJECT, requires_python=f"==3.{sys.version_info[1]}.*")
    assert environment_key(project, "a") == environment_key(project, "a")
    assert environment_key(project, "a") != environment_key(own, "a")


def test_a_container_has_the_programs_of_that_system(tmp_path: Path) -> None:
    system, place = tmp_path / "system", tmp_path / "place"
    for name in ("usr/bin", "usr/lib", "etc/ld.so.conf.d"):
        (system / name).mkdir(parents=True)
    (system / "lib").symlink_to("usr/lib")
    (system / "etc/ld.so.cache").write_bytes(b"cache of that system")
    place.mkdir()
    settings = Settings.from_environ({"HOME": str(tmp_path)})
    spec = describe_container(
        place, ["true"], environ={}, binds=(), settings=settings, system=system
    )
    sources = {mount.target: getattr(mount, "source", None) for mount in spec.mounts}
    assert sources["/usr"] == system / "usr"
    assert "/bin" not in sources
    root = spec.rootfs.lower[0]
    assert (root / "lib").readlink() == Path("usr/lib")
    assert (root / "etc/ld.so.cache").read_bytes() == b"cache of that system"
    assert sources.get("/etc/ssl/certs") in (None, Path("/etc/ssl/certs").resolve())


@pytest.mark.slow
@pytest.mark.privileged
@pytest.mark.network
def test_a_module_runs_with_the_python_of_another_release(command_line: CommandLine) -> None:
    work = command_line.workdir
    (work / "dagger.json").write_text('{"name": "newer", "sdk": {"source": "python"}}')
    (work / "pyproject.toml").write_text(
        '[project]\nname = "newer"\nversion = "1"\nrequires-python = "==3.13.*"\n'
        'dependencies = ["dagger-io"]\n'
    )
    (work / "src/newer").mkdir(parents=True)
    (work / "src/newer/__init__.py").write_text(MODULE)
    (work / ".git").mkdir()
    done = command_line.run("call", "python")
    assert done.stdout == b"3.13 x"
