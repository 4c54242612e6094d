"""Layouts of projects whose code is neither in `src` nor next to the pyproject.toml.

What an editable installation puts on the import path is the build backend's to say:
- hatchling, `dev-mode-dirs`, `packages`, `sources`:
  https://hatch.pypa.io/latest/config/build/#dev-mode and …/plugins/builder/wheel/#options
- setuptools, `package-dir` and `packages.find.where`:
  https://setuptools.pypa.io/en/latest/userguide/package_discovery.html and
  …/userguide/development_mode.html
- poetry-core, `packages` with `from`: https://python-poetry.org/docs/pyproject/#packages
- uv_build, `module-root`: https://docs.astral.sh/uv/concepts/build-backend/#modules
- pdm-backend, `package-dir`: https://backend.pdm-project.org/build_config/
tests/integration/test_editable.py asks the backends themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_PROJECT = """\
[project]
name = "thing"
version = "1.0"
{more}
[project.entry-points."dagger.mod"]
main_object = "thing:Thing"
"""
_BUILD_SYSTEM = """
[build-system]
requires = ["{requires}"]
build-backend = "{backend}"
"""
_BACKENDS = {
    "hatchling": "hatchling.build",
    "setuptools": "setuptools.build_meta",
    "poetry-core": "poetry.core.masonry.api",
    "uv_build": "uv_build",
    "pdm-backend": "pdm.backend",
}


class Layout(NamedTuple):
    """A project: its backend, what it says of its places, where the code is, and what is imported.

    `code` is relative to the project's directory, which lies one directory below the repository.
    """

    requires: str
    tool: str
    code: str
    paths: tuple[str, ...]
    more: str = ""

    def write(self, directory: Path) -> None:
        """Write the project in an empty directory that is to be."""
        backend = _BACKENDS[self.requires]
        build = _BUILD_SYSTEM.format(requires=self.requires, backend=backend)
        directory.mkdir(parents=True)
        (directory / "pyproject.toml").write_text(
            _PROJECT.format(more=self.more) + build + self.tool
        )
        code = directory / self.code
        code.mkdir(parents=True)
        (code / "__init__.py").write_text("class Thing: ...\n")


EDITABLE = {
    "hatchling: dev-mode-dirs": Layout(
        *("hatchling", '[tool.hatch.build]\ndev-mode-dirs = ["..", "../lib"]\n'),
        *("../lib/thing", ("..", "../lib")),
    ),
    "hatchling: the wheel's dev-mode-dirs": Layout(
        "hatchling",
        '[tool.hatch.build.targets.wheel]\ndev-mode-dirs = ["lib"]\n'
        '[tool.hatch.build]\ndev-mode-dirs = ["other"]\n',
        *("lib/thing", ("lib",)),
    ),
    "hatchling: packages": Layout(
        *("hatchling", '[tool.hatch.build.targets.wheel]\npackages = ["lib/thing"]\n'),
        *("lib/thing", ("lib",)),
    ),
    "hatchling: sources": Layout(
        "hatchling",
        '[tool.hatch.build.targets.wheel]\nonly-include = ["lib/thing"]\nsources = ["lib"]\n',
        *("lib/thing", ("lib",)),
    ),
    "hatchling: sources with a prefix taken away": Layout(
        "hatchling",
        '[tool.hatch.build]\nonly-include = ["lib/thing"]\n[tool.hatch.build.sources]\nlib = ""\n',
        *("lib/thing", ("lib",)),
    ),
    "setuptools: package-dir of the root": Layout(
        *("setuptools", '[tool.setuptools]\npackages = ["thing"]\npackage-dir = {"" = "lib"}\n'),
        *("lib/thing", ("lib",)),
    ),
    "setuptools: package-dir of a package": Layout(
        "setuptools",
        '[tool.setuptools]\npackages = ["thing"]\npackage-dir = {thing = "lib/thing"}\n',
        *("lib/thing", ("lib",)),
    ),
    "setuptools: packages.find.where": Layout(
        *("setuptools", '[tool.setuptools.packages.find]\nwhere = ["lib"]\n'),
        *("lib/thing", ("lib",)),
    ),
    "poetry-core: from": Layout(
        *("poetry-core", '[tool.poetry]\npackages = [{include = "thing", from = "lib"}]\n'),
        *("lib/thing", ("lib",)),
    ),
    "uv_build: module-root": Layout(
        *("uv_build", '[tool.uv.build-backend]\nmodule-root = "lib"\n'),
        *("lib/thing", ("lib",)),
    ),
    "uv_build: no module-root": Layout(
        *("uv_build", '[tool.uv.build-backend]\nmodule-root = ""\n'), *("thing", (".",))
    ),
    "pdm-backend: package-dir": Layout(
        *("pdm-backend", '[tool.pdm.build]\npackage-dir = "lib"\n'), *("lib/thing", ("lib",))
    ),
}
BUILT = {
    "setuptools: a package by another name": Layout(
        "setuptools",
        '[tool.setuptools]\npackages = ["thing"]\npackage-dir = {thing = "lib/code"}\n',
        *("lib/code", (".",)),
    ),
    "hatchling: a prefix changed": Layout(
        "hatchling",
        '[tool.hatch.build.targets.wheel]\nonly-include = ["lib"]\n'
        '[tool.hatch.build.targets.wheel.sources]\n"lib" = "thing"\n',
        *("lib", (".",)),
    ),
    "setuptools: dependencies in another file": Layout(
        "setuptools",
        '[tool.setuptools.packages.find]\nwhere = ["lib"]\n'
        '[tool.setuptools.dynamic]\ndependencies = {file = ["needs.txt"]}\n',
        *("lib/thing", ("lib",)),
        more='dynamic = ["dependencies"]',
    ),
}
