"""Fourteen small repositories, each in a shape that people have.

`ONE` and `TWO` are projects of the wheelhouse; `TWO` requires `ONE`. Every program prints a line
with the version of what it imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE, TWO = "layerline-test-one", "layerline-test-two"
PROGRAM = f"""\
from importlib.metadata import version
import layerline_test_one
print("runs with one", version("{ONE}"))
"""
BOTH = PROGRAM + f'import layerline_test_two\nprint("and two", version("{TWO}"))\n'
SAID = "runs with one 1.0\n"
SAID_OF_BOTH = SAID + "and two 1.0\n"
BUILD_SYSTEM = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[tool.setuptools.package-data]
app = ["*.txt"]
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A repository's files, and what its program prints.

    `where` is the directory in which `init` is run, `projects` what the image builds then. `edit`
    is what has to be replaced in the file that it writes, where `message` says so.
    """

    files: Mapping[str, str]
    said: str = SAID
    where: str = "."
    projects: tuple[str, ...] = ()
    edit: tuple[str, str] | None = None
    message: str = ""


def _project(*requirements: str, more: str = "") -> str:
    listed = ", ".join(f'"{each}"' for each in requirements)
    return f'[project]\nname = "app"\nversion = "1"\ndependencies = [{listed}]\n{more}'


SHAPES = {
    "requirements-and-script": Shape(
        files={"requirements.txt": f"{ONE}==1.0\n", "train.py": PROGRAM},
    ),
    "src-layout-with-console-script": Shape(
        files={
            "pyproject.toml": _project(
                f"{ONE}>=1",
                more='[project.scripts]\napp = "app.cli:main"\n' + BUILD_SYSTEM,
            ),
            "src/app/__init__.py": "",
            "src/app/cli.py": "from importlib.resources import files\n"
            "def main():\n    exec(files('app').joinpath('work.txt').read_text())\n",
            "src/app/work.txt": PROGRAM,
        },
        projects=(".",),
    ),
    "flat-package-with-main": Shape(
        files={
            "pyproject.toml": _project(
                ONE, more=f'[project.optional-dependencies]\nx = ["{TWO}"]\n'
            ),
            "app/__init__.py": "",
            "app/__main__.py": BOTH,
        },
        said=SAID_OF_BOTH,
    ),
    "poetry": Shape(
        files={
            "pyproject.toml": (
                f'[tool.poetry]\nname = "app"\n[tool.poetry.dependencies]\npython = "^3.11"\n'
                f'{ONE} = [{{version = "^1.0", python = ">=3.11"}}, '
                '{version = "^9", python = "<3.11"}]\n'
                'shared = {path = "libs/shared"}\n'
                '[tool.poetry.group.dev.dependencies]\npytest = "*"\n'
            ),
            "libs/shared/shared/__init__.py": PROGRAM,
            "main.py": "import shared\n",
        },
    ),
    "uv-workspace": Shape(
        files={
            "pyproject.toml": _project(
                "shared",
                more="[tool.uv.sources]\nshared = { workspace = true }\n"
                '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
            ),
            "packages/shared/pyproject.toml": (
                f'[project]\nname = "shared"\nversion = "1"\ndependencies = ["{ONE}"]\n'
            ),
            "packages/shared/src/shared/__init__.py": PROGRAM,
            "run.py": "import shared\n",
        },
        projects=("packages/shared",),
    ),
    "setup-py": Shape(
        files={
            "setup.py": (
                "from setuptools import setup\n"
                "setup(name='app', install_requires=open('requirements.txt').readlines())\n"
            ),
            "requirements.txt": f"# pinned\n{TWO}\n",
            "predict.py": BOTH,
        },
        said=SAID_OF_BOTH,
    ),
    "setup-cfg": Shape(
        files={
            "setup.cfg": f"[metadata]\nname = app\n[options]\ninstall_requires =\n    {ONE}<2\n",
            "setup.py": "import setuptools\nsetuptools.setup()\n",
            "scripts/train.py": "import app.model\n",
            "app/__init__.py": "",
            "app/model.py": PROGRAM,
        },
    ),
    "pipfile": Shape(
        files={
            "Pipfile": f'[packages]\n{ONE} = "==1.0"\n[requires]\npython_version = "3.11"\n',
            "main.py": PROGRAM,
        },
    ),
    "conda": Shape(
        files={
            "environment.yml": (
                "name: app\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n"
                f"  - pip:\n    - {ONE}\n"
            ),
            "train.py": PROGRAM,
        },
    ),
    "dockerfile-with-stages": Shape(
        files={
            "requirements.txt": f"{ONE}\n",
            "docker/start.sh": 'exec python "$MAIN"\n',
            "service/main.py": PROGRAM,
            "Dockerfile": (
                "ARG V=3.11\nFROM python:${V}-slim AS base\n"
                "ENV CODE=/code\nENV MAIN=$CODE/service/main.py\n"
                "FROM base\nCOPY . /code\nCOPY docker/start.sh /start.sh\nUSER 1001\n"
                'RUN pip install -r /code/requirements.txt\nENTRYPOINT ["/start.sh"]\n'
            ),
        },
    ),
    "dockerfile-alone": Shape(
        files={
            "Dockerfile": (
                f"FROM python:3.11-slim\nWORKDIR /srv\nRUN pip install {TWO} {ONE}==1.0\n"
                'COPY src/ /srv/\nCMD ["python", "main.py"]\n'
            ),
            "src/main.py": BOTH,
        },
        said=SAID_OF_BOTH,
    ),
    "requirements-with-constraints": Shape(
        files={
            "requirements/base.txt": f"-c limits.txt\n{ONE}\n",
            "requirements/limits.txt": f"{ONE}<2\n",
            "data/model.txt": "weights",
            ".gitignore": "data/\nsecret.txt\n",
            "secret.txt": "not for images\n",
            ".python-version": "3.11.9\n",
            "serve.py": PROGRAM + "import os; print(sorted(os.listdir('/app')))\n",
        },
        said=SAID + "['.gitignore', '.python-version', 'layerline.toml', 'locks', 'requirements', "
        "'serve.py', 'wheels']\n",
    ),
    "several-projects": Shape(
        files={
            "services/api/requirements.txt": f"{ONE}\n",
            "services/api/main.py": PROGRAM,
            "training/requirements.txt": f"{TWO}\n",
        },
        where="services/api",
        message="run init in one of services/api, training",
    ),
    "cog": Shape(
        files={
            "cog.yaml": (
                f'build:\n  python_version: "3.11"\n  python_packages: ["{ONE}==1.0"]\n'
                'predict: "predict_it.py:Predictor"\n'
            ),
            "predict_it.py": "class Predictor:\n    def predict(self):\n        import work\n",
            "work.py": PROGRAM,
        },
        message=(
            "'predict_it.py:Predictor' left out, as cog's own server runs it: "
            "set images.NAME.command"
        ),
        edit=(
            '# command = ["python", "main.py"]',
            'command = ["python", "-c", "import predict_it; predict_it.Predictor().predict()"]',
        ),
    ),
}
