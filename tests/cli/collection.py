"""Modules in the shapes that public collections have, written into a directory when a test runs.

The shapes were seen in the Daggerverse (https://daggerverse.dev); names and code are our own. A
shape is written as a repository, called from `workdir` in it, and answers `wanted`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.module.indexes import installer_environ
from layerline.settings import Settings, process_environ

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SDK = {"source": "python"}
CODE = """\
import dagger
from dagger import dag, function, object_type
{imports}

@object_type
class {name}:
{body}
"""
GREET = '''
    @function
    def greet(self, whom: str = "you") -> str:
        """Greets somebody."""
        return f"hello {whom}"
'''
PROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.10"
dependencies = ["dagger-io"{more}]
"""
UV_BUILD = """
[build-system]
requires = ["uv_build>=0.8.4,<0.12"]
build-backend = "uv_build"
"""
# As `dagger init --sdk=python` writes it; `sdk` is not committed.
SDK_SOURCE = """
[tool.uv.sources]
dagger-io = { path = "sdk", editable = true }
"""


def code(name: str, body: str = GREET, imports: str = "") -> str:
    """The code of a module's main object."""
    return CODE.format(name=name, body=body.strip("\n"), imports=imports)


def config(name: str, *, version: str = "v0.21.8", sdk: object = SDK, **more: object) -> str:
    """A dagger.json."""
    described = {"name": name, "engineVersion": version, **({"sdk": sdk} if sdk else {}), **more}
    return json.dumps(described, indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A module: its files, what its functions are, and what a call of it prints.

    `prepare` does what files alone cannot, in the directory of the repository.
    """

    files: Mapping[str, str]
    functions: tuple[str, ...]
    call: tuple[str, ...]
    wanted: str
    workdir: str = "."
    prepare: Callable[[Path], None] | None = None

    def write(self, repository: Path) -> Path:
        """Write the repository; returns where a user stands in it."""
        for name, text in self.files.items():
            path = repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if self.prepare is not None:
            self.prepare(repository)
        return repository / self.workdir


def _greeter(files: dict[str, str], prepare: Callable[[Path], None] | None = None) -> Shape:
    """A module with one function."""
    return Shape(
        files=files,
        functions=("greet",),
        call=("greet", "--whom=them"),
        wanted="hello them",
        prepare=prepare,
    )


def _lock_with_uv(repository: Path) -> None:
    """Write a uv.lock as of the time of an older SDK, which wanted `beartype<0.21`."""
    sdk = repository / "sdk"
    sdk.mkdir()
    old = '[project]\nname = "dagger-io"\nversion = "0.0.0"\nrequires-python = ">=3.10"\n'
    (sdk / "pyproject.toml").write_text(f'{old}dependencies = ["anyio", "beartype==0.20.0"]\n')
    uv = Path(sys.executable).with_name("uv")
    environ = installer_environ(Settings.from_environ(process_environ()))
    command.run([uv, "lock", "--python", sys.executable], cwd=repository, env=environ)
    (sdk / "pyproject.toml").unlink()
    sdk.rmdir()


_POETRY = """\
[tool.poetry]
name = "versed"
version = "0.1.0"
description = ""
authors = []
packages = [{ include = "versed", from = "src" }]

[tool.poetry.dependencies]
python = ">=3.10"
dagger-io = "*"

[build-system]
requires = ["poetry-core>=1.0.0"]
build-backend = "poetry.core.masonry.api"
"""
_SETUPTOOLS = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[tool.setuptools.packages.find]
where = ["src"]
"""
_HATCHLING = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/packed"]
"""
_WORKSPACE = """
[tool.uv.sources]
dagger-io = { path = "sdk", editable = true }
shared-words = { workspace = true }

[tool.uv.workspace]
members = ["libs/*"]
"""
_ENUM = '''
import enum


@dagger.enum_type
class Tone(enum.Enum):
    """How something is said."""

    LOUD = "loud"
    QUIET = "quiet"
'''
_SAY = '''
    @function
    def say(self, text: str, tone: Tone = Tone.QUIET) -> str:
        """Says it."""
        return text.upper() if tone is Tone.LOUD else text.lower()

    @function
    def label(self) -> str:
        """What it is called."""
        return "speaker"
'''
_MIDDLE = '''
    @function
    async def say_twice(self, text: str) -> str:
        """Says it in both tones."""
        loud = await dag.speaker().say(text, tone=dagger.SpeakerTone.LOUD)
        return loud + " " + await dag.speaker().say(text)
'''
_TOP = '''
    @function
    async def go(self, text: str = "Hey") -> str:
        """Three modules deep."""
        said = await dag.middle().say_twice(text) + " " + await dag.said().say("Ab")
        return said + " " + await dag.again().label()
'''
_LABELLED = '''

@dagger.interface
class Labelled(typing.Protocol):
    """Whatever has a label."""

    @function
    async def label(self) -> str: ...
'''
_USES_INTERFACE = '''
    @function
    async def label_of(self, thing: Labelled) -> str:
        """The label of something."""
        return "label: " + await thing.label()
'''
_PASSES = '''
    @function
    async def labels(self) -> str:
        """An object of one module as an interface of another one."""
        return await dag.labeller().label_of(dag.speaker().as_labeller_labelled())
'''
_CHAIN = '''
    @function
    async def size(self, source: Annotated[dagger.Directory, DefaultPath("/")]) -> int:
        """How many files the repository has in docs."""
        return len(await source.directory("docs").entries())
'''
# Without a pyproject.toml it has the same environment as the modules that use it.
_PLAIN = {"src/speaker/__init__.py": code("Speaker", _SAY, _ENUM)}


def _under(directory: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{directory}/{name}": text for name, text in files.items()}


def _dependency(name: str, source: str, more: dict[str, str] | None = None) -> dict[str, str]:
    return {"name": name, "source": source, **(more or {})}


SHAPES: dict[str, Shape] = {
    "without a pyproject.toml": _greeter(
        {"dagger.json": config("bare"), "src/main.py": code("Bare")}
    ),
    "a package named main, and an old string for the SDK": _greeter(
        {
            "dagger.json": config("aged", version="v0.13.3", sdk="python", source="dagger"),
            "dagger/pyproject.toml": PROJECT.format(name="main", more=""),
            "dagger/src/main/__init__.py": code("Aged"),
        }
    ),
    "requirements.lock older than the SDK": _greeter(
        {
            "dagger.json": config("pinned"),
            "pyproject.toml": PROJECT.format(name="pinned", more=""),
            "requirements.lock": "anyio==4.6.0\nbeartype==0.20.0\n-e file:./sdk\n",
            "src/pinned/__init__.py": code("Pinned"),
        }
    ),
    "uv.lock older than the SDK": _greeter(
        {
            "dagger.json": config("locked"),
            "pyproject.toml": PROJECT.format(name="locked", more="") + UV_BUILD + SDK_SOURCE,
            "src/locked/__init__.py": "from .main import Locked as Locked\n",
            "src/locked/main.py": code("Locked"),
        },
        prepare=_lock_with_uv,
    ),
    "poetry without a project table": _greeter(
        {
            "dagger.json": config("versed"),
            "pyproject.toml": _POETRY,
            "src/versed/__init__.py": code("Versed"),
        }
    ),
    "setuptools with a src layout": _greeter(
        {
            "dagger.json": config("tooled"),
            "pyproject.toml": PROJECT.format(name="tooled", more="") + _SETUPTOOLS,
            "src/tooled/__init__.py": code("Tooled"),
        }
    ),
    "hatchling with packages": _greeter(
        {
            "dagger.json": config("packed"),
            "pyproject.toml": PROJECT.format(name="packed", more="") + _HATCHLING,
            "src/packed/__init__.py": code("Packed"),
        }
    ),
    "a flat layout and a dashed name": _greeter(
        {
            "dagger.json": config("my-flat-2"),
            "pyproject.toml": PROJECT.format(name="my-flat-2", more=""),
            "my_flat_2.py": code("MyFlat2"),
        }
    ),
    "what init writes, without its sdk directory": _greeter(
        {
            "dagger.json": config("fresh", source="."),
            "pyproject.toml": PROJECT.format(name="fresh", more="") + UV_BUILD + SDK_SOURCE,
            "src/fresh/__init__.py": "from .main import Fresh as Fresh\n",
            "src/fresh/main.py": code("Fresh"),
        }
    ),
    "a workspace with a library": Shape(
        files={
            "dagger.json": config("spaced"),
            "pyproject.toml": PROJECT.format(name="spaced", more=', "shared-words"')
            + UV_BUILD
            + _WORKSPACE,
            "libs/words/pyproject.toml": '[project]\nname = "shared-words"\nversion = "1.0"\n'
            + UV_BUILD,
            "libs/words/src/shared_words/__init__.py": 'WORD = "shared"\n',
            "src/spaced/__init__.py": code(
                "Spaced",
                "    @function\n    def word(self) -> str:\n        return shared_words.WORD\n",
                "import shared_words\n",
            ),
        },
        functions=("word",),
        call=("word",),
        wanted="shared",
    ),
    "a package of the index with a marker": Shape(
        files={
            "dagger.json": config("needy"),
            "pyproject.toml": PROJECT.format(
                name="needy",
                more=', "packaging>=23,<30", "tomli>=2; python_version < \'3.11\'"',
            ),
            "src/needy/__init__.py": code(
                "Needy",
                "    @function\n    def newest(self, a: str, b: str) -> str:\n"
                "        return max(a, b, key=Version)\n",
                "from packaging.version import Version\n",
            ),
        },
        functions=("newest",),
        call=("newest", "--a=1.10", "--b=1.9"),
        wanted="1.10",
    ),
    "ci code of a larger repository": Shape(
        files={
            "dagger.json": config("larger", source="ci", include=["docs"]),
            "docs/one.md": "1",
            "docs/two.md": "2",
            "app/main.py": "raise SystemExit\n",
            "ci/pyproject.toml": PROJECT.format(name="larger", more=""),
            "ci/src/larger/__init__.py": code(
                "Larger",
                _CHAIN,
                "from typing import Annotated\n\nfrom dagger import DefaultPath\n",
            ),
        },
        functions=("size",),
        call=("size",),
        wanted="2",
        workdir="app",
    ),
    "dependencies three deep, one under two names": Shape(
        files={
            **_under("speaker", {"dagger.json": config("speaker"), **_PLAIN}),
            "middle/dagger.json": config("middle", dependencies=[_dependency("", "../speaker")]),
            "middle/src/main/__init__.py": code("Middle", _MIDDLE),
            "top/dagger.json": config(
                "top",
                dependencies=[
                    *(_dependency("", "../middle"), _dependency("said", "../speaker")),
                    _dependency("again", "../speaker"),
                ],
            ),
            "top/src/top.py": code("Top", _TOP),
        },
        functions=("go",),
        call=("go",),
        wanted="HEY hey ab speaker",
        workdir="top",
    ),
    "an object as another module's interface": Shape(
        files={
            **_under("speaker", {"dagger.json": config("speaker"), **_PLAIN}),
            "labeller/dagger.json": config("labeller"),
            "labeller/src/labeller.py": code(
                "Labeller", _USES_INTERFACE, "import typing\n" + _LABELLED
            ),
            "passes/dagger.json": config(
                "passes",
                dependencies=[_dependency("", "../speaker"), _dependency("", "../labeller")],
            ),
            "passes/src/passes.py": code("Passes", _PASSES),
        },
        functions=("labels",),
        call=("labels",),
        wanted="label: speaker",
        workdir="passes",
    ),
    "a toolchain": Shape(
        files={
            **_under("tools/speaker", {"dagger.json": config("speaker"), **_PLAIN}),
            "dagger.json": config(
                "project", sdk=None, toolchains=[_dependency("speaker", "tools/speaker")]
            ),
        },
        functions=("speaker",),
        call=("speaker", "say", "--text=Hi", "--tone=LOUD"),
        wanted="HI",
    ),
    "a blueprint": Shape(
        files={
            **_under("blue/speaker", {"dagger.json": config("speaker"), **_PLAIN}),
            "app/dagger.json": config(
                "app", sdk=None, blueprint=_dependency("speaker", "../blue/speaker")
            ),
        },
        functions=("label", "say"),
        call=("say", "--text=Hi"),
        wanted="hi",
        workdir="app",
    ),
}
# A module that uses one of a repository that is served; AT and PIN are known once it is.
FROM_GIT = Shape(
    files={
        "dagger.json": config(
            "remote",
            dependencies=[
                _dependency("speaker", "http://AT/voices.git/speaker@v1.0.0", {"pin": "PIN"})
            ],
        ),
        "src/remote.py": code("Remote", _MIDDLE),
    },
    functions=("say-twice",),
    call=("say-twice", "--text=So"),
    wanted="SO so",
)
SERVED = _under("speaker", {"dagger.json": config("speaker"), **_PLAIN})
