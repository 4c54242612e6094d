"""`init` on the files of other tools: the right requirements, and nothing guessed in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.cli.scaffold.poetry import specifiers
from layerline.errors import UsageError
from tests.unit.cli.commands.test_init import run_init, write_definition

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.pipeline.definition import Definition


def core(definition: Definition) -> tuple[str, ...]:
    [target] = definition.targets
    return definition.groups["core"].requirements_for(target)


def said(place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed; each line that was left out is also a comment in the file."""
    text = capsys.readouterr().err
    for line in text.partition("Not taken over:\n")[2].partition("Wrote ")[0].splitlines():
        assert f"# - {line.strip()}" in (place / "layerline.toml").read_text()
    return text


@pytest.mark.parametrize(
    ("constraint", "wanted"),
    [
        # https://python-poetry.org/docs/dependency-specification/#version-constraints
        ("^1.2.3", [">=1.2.3", "<2"]),
        ("^1", [">=1", "<2"]),
        ("^0.2.3", [">=0.2.3", "<0.3"]),
        ("^0.0.3", [">=0.0.3", "<0.0.4"]),
        ("^0.0", [">=0.0", "<0.1"]),
        ("^0", [">=0", "<1"]),
        ("~1.2.3", [">=1.2.3", "<1.3"]),
        ("~1.2", [">=1.2", "<1.3"]),
        ("~1", [">=1", "<2"]),
        ("1.2.*", ["==1.2.*"]),
        (">= 1.2, < 1.5", [">=1.2", "<1.5"]),
        ("~=1.2", ["~=1.2"]),
        ("*", []),
    ],
)
def test_constraints_of_poetry(constraint: str, wanted: list[str]) -> None:
    assert specifiers(constraint) == wanted


def test_poetry_with_groups_optionals_markers_and_other_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        """
[tool.poetry]
name = "scans"
[tool.poetry.dependencies]
python = "^3.12"
numpy = [{version = "^1.26", python = "<3.12"}, {version = "^2.1", python = ">=3.12"}]
colorama = {version = "*", markers = "sys_platform == 'win32'"}
inhouse = {git = "https://me:secret@host.example/inhouse.git"}
sibling = {path = "../sibling", develop = true}
private = {version = "^1", source = "company"}
boto3 = {version = "^1.34", optional = true}
[tool.poetry.extras]
cloud = ["boto3"]
[tool.poetry.group.serving.dependencies]
flask = "^3"
[tool.poetry.group.dev.dependencies]
ruff = "*"
"""
    )
    definition = write_definition(tmp_path)
    assert core(definition) == (
        "numpy>=1.26,<2 ; (python_version <3.12)".replace("<3.12", '< "3.12"'),
        'numpy>=2.1,<3 ; (python_version >= "3.12")',
        "colorama ; (sys_platform == 'win32')",
    )
    assert definition.base.image == "ubuntu:24.04"
    assert definition.groups["cloud"].requirements_for("cpu") == ("boto3>=1.34,<2",)
    assert definition.groups["api"].requirements_for("cpu") == ("flask>=3,<4",)
    text = said(tmp_path, capsys)
    for name in ("inhouse", "sibling", "private"):
        assert f"'{name}' left out, as its source is" in text
    assert "secret" not in text + (tmp_path / "layerline.toml").read_text()


def test_poetry_2_says_in_its_own_table_where_a_dependency_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # https://python-poetry.org/docs/dependency-specification/#projectdependencies-and-toolpoetrydependencies
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "scans"\ndependencies = ["numpy (>=2)", "inhouse", "corp>=1"]\n'
        '[tool.poetry.dependencies]\ninhouse = { git = "https://host.example/inhouse" }\n'
        'corp = { source = "corp" }\n[[tool.poetry.source]]\nname = "corp"\n'
        'url = "https://me:secret@corp.example/simple"\n'
    )
    assert core(write_definition(tmp_path)) == (
        "numpy (>=2)",
        "inhouse @ git+https://host.example/inhouse",
    )
    text = said(tmp_path, capsys)
    assert "'corp>=1' left out, as its source in tool.poetry is source" in text
    assert "the index corp left out; give indexes as flags when locking" in text
    assert "secret" not in text + (tmp_path / "layerline.toml").read_text()


def test_what_uv_has_from_elsewhere_is_never_a_name_of_the_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "packages/inner").mkdir(parents=True)
    (tmp_path / "packages/inner/pyproject.toml").write_text(
        '[project]\nname = "inner-lib"\ndependencies = ["scipy", "outer"]\n'
    )
    (tmp_path / "pyproject.toml").write_text(
        """
[project]
name = "outer"
requires-python = ">=3.13"
dependencies = ["numpy", "inner_lib", "forked>=2", "corp", "torch"]
[tool.uv.sources]
inner-lib = { workspace = true }
forked = { git = "https://host.example/forked", tag = "v2" }
corp = [{ index = "corp" }]
torch = [{ index = "torch-cpu", marker = "sys_platform == 'linux'" }]
[tool.uv.workspace]
members = ["packages/*"]
[[tool.uv.index]]
name = "torch-cpu"
url = "https://index.pytorch.org/whl/cpu"
explicit = true
"""
    )
    definition = write_definition(tmp_path)
    assert core(definition) == ("numpy", "forked @ git+https://host.example/forked@v2", "scipy")
    assert definition.groups["pytorch"].requirements_for("cpu") == ("torch",)
    assert definition.base.image == "debian:trixie-slim"
    assert definition.images["outer"].projects == ("packages/inner",)
    assert definition.images["outer"].env == {}
    text = said(tmp_path, capsys)
    assert "packages/inner is a project of the repository" in text
    assert "'corp' left out, as its source in tool.uv.sources is index = 'corp'" in text


def test_a_setup_py_is_read_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pyyaml\n")
    (tmp_path / "setup.py").write_text(
        "import pathlib, setuptools\n"
        "pathlib.Path('ran').touch()\n"
        "NEEDED = ['numpy>=2', 'own @ git+https://host.example/own']\n"
        "setuptools.setup(name='Scans', python_requires='>=3.10,<3.11', install_requires=NEEDED,\n"
        "    extras_require={'cloud': ['boto3'], 'dev': ['pytest']})\n"
    )
    definition = write_definition(tmp_path)
    assert core(definition) == ("numpy>=2", "own @ git+https://host.example/own")
    assert definition.groups["cloud"].requirements_for("cpu") == ("boto3",)
    assert (list(definition.images), definition.base.image) == (["scans"], "ubuntu:22.04")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "layerline.toml").unlink()
    (tmp_path / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='scans', install_requires=open('requirements.txt').read().splitlines())\n"
    )
    assert core(write_definition(tmp_path)) == ("pyyaml",)


def test_setup_cfg_pipfile_conda_and_cog(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "setup.cfg": (
            "[metadata]\nname = scans\n[options]\ninstall_requires =\n    numpy\n    scipy<2\n"
        ),
        "Pipfile": '[packages]\nnumpy = "*"\nscipy = {version = "<2"}\nown = {path = "."}\n',
        "environment.yml": (
            "dependencies:\n  - python=3.11\n  - numpy=2.1\n  - conda-forge::scipy>=1.14\n"
            "  - blas=*=mkl\n  - pip\n  - pip:\n    - pyyaml\n    - -e .\n    - -r more.txt\n"
        ),
        "cog.yaml": (
            'build:\n  python_version: "3.11"\n  gpu: true\n  cuda: "12.4"\n'
            "  system_packages: [libgl1]\n  python_packages: [numpy==2.1]\n  run: [echo x]\n"
            'predict: "predict.py:Predictor"\n'
        ),
    }
    wanted = {
        "setup.cfg": ("numpy", "scipy<2"),
        "Pipfile": ("numpy", "scipy<2"),
        "environment.yml": ("numpy==2.1.*", "scipy>=1.14", "six", "pyyaml"),
        "cog.yaml": ("numpy==2.1",),
    }
    texts = {}
    for name, text in files.items():
        place = tmp_path / name.replace(".", "-")
        place.mkdir()
        (place / name).write_text(text)
        (place / "more.txt").write_text("six\n")
        definition = write_definition(place)
        assert core(definition) == wanted[name], name
        texts[name] = said(place, capsys)
    assert "'own' left out, as its source is path" in texts["Pipfile"]
    assert "'blas' left out, as conda's name may be another project's" in texts["environment.yml"]
    assert "'-e .' left out" in texts["environment.yml"]
    assert "target cu12: because of the repository's environment" in texts["cog.yaml"]
    assert "'echo x' left out, as it is a command of build.run" in texts["cog.yaml"]
    assert "predict.py:Predictor" in texts["cog.yaml"]


def test_files_that_include_files_and_constraints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.txt").write_text("numpy\nscipy>=1.10 ; python_version > '3.8'\n")
    (tmp_path / "limits.txt").write_text("numpy<3\nscipy<2\nunrelated==1\n")
    (tmp_path / "requirements.txt").write_text("-r base.txt\n-c limits.txt\n-r gone.txt\npyyaml\n")
    assert core(write_definition(tmp_path)) == (
        *("numpy<3", "scipy>=1.10,<2 ; python_version > '3.8'", "pyyaml"),
    )
    text = said(tmp_path, capsys)
    assert "'-r gone.txt' left out, as the file does not exist" in text
    assert "'unrelated==1' left out, as it constrains what is not required by name" in text


def test_a_dockerfile_of_stages_variables_ranges_and_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/start.sh").write_text("exec python -m serve\n")
    (tmp_path / "service").mkdir()
    (tmp_path / "service/main.py").write_text("")
    (tmp_path / "Dockerfile").write_text(
        "ARG PYTHON=3.12\nFROM python:${PYTHON}-slim AS base\n"
        "ENV HOME_DIR=/code\nENV MODELS=$HOME_DIR/models\nWORKDIR /code\n"
        "RUN apt-get update && apt-get install -y curl=7.88.* gcc\n"
        "FROM base AS wheels\nRUN pip install --no-cache-dir boto3==1.34\n"
        "FROM base\nENV PYTHONPATH=${HOME_DIR}/service PIP_NO_CACHE_DIR=1 NOTHING=$UNKNOWN\n"
        "COPY --from=wheels /x /x\n"
        "RUN pip install 'numpy>=2' torch --index-url https://index.example/cpu && pip install .\n"
        "COPY . /code\nCOPY docker/start.sh /usr/local/bin/start\n"
        "WORKDIR /code/service\nEXPOSE 8000-8002/tcp 53/udp\nUSER 1001\n"
        'ENTRYPOINT ["/usr/local/bin/start"]\nCMD ["python", "main.py", "gone.py"]\n'
    )
    definition = write_definition(tmp_path)
    [image] = definition.images.values()
    assert core(definition) == ("numpy>=2", "boto3==1.34")
    assert definition.groups["pytorch"].requirements_for("cpu") == ("torch",)
    assert definition.base.image == "ubuntu:24.04"
    assert definition.base.packages[-1] == "curl"
    assert image.env == {
        "HOME_DIR": "/app",
        "MODELS": "/app/models",
        "PYTHONPATH": "/app/service",
    }
    assert image.ports == (8000, 8001, 8002)
    assert image.entrypoint == ("tini", "--", "sh", "docker/start.sh")
    assert image.command == ("python", "service/main.py", "gone.py")
    assert image.user == "app"
    text = said(tmp_path, capsys)
    for expected in (
        "the version of curl=7.88.* left out",
        "the port 53/udp left out",
        "USER 1001: the run user app has the id 1000",
        "it starts gone.py, which the repository has not",
        "ENV PIP_NO_CACHE_DIR is about an installer",
        "ENV NOTHING=$UNKNOWN is made of unknown variables",
        "package gcc left out: wheels need no compiler",
    ):
        assert expected in text


def test_a_dockerfile_that_docker_refuses_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "Dockerfile").write_text("FROM\nFROM python:3.11\nCOPY\nEXPOSE\nENV\nCMD [\nUSER\n")
    assert core(write_definition(tmp_path)) == ("numpy",)


@pytest.mark.parametrize("copy", ["src/ /srv/", "src .", "src/main.py .", "./src /srv"])
def test_a_program_is_found_where_it_was_copied_from(tmp_path: Path, copy: str) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.py").write_text("")
    (tmp_path / "Dockerfile").write_text(
        f"FROM python:3.11\nWORKDIR /srv\nRUN pip install numpy\nCOPY {copy}\nCMD python main.py\n"
    )
    [image] = write_definition(tmp_path).images.values()
    assert image.command == ("sh", "-c", "python src/main.py")


@pytest.mark.parametrize(
    ("files", "command", "path"),
    [
        ({"train.py": ""}, ("python", "train.py"), None),
        ({"scripts/train.py": ""}, ("python", "scripts/train.py"), "/app"),
        (
            {"src/scans/__init__.py": "", "src/scans/__main__.py": ""},
            ("python", "-m", "scans"),
            "/app/src",
        ),
        (
            {"app.py": "api = FastAPI()\n"},
            ("uvicorn", "app:api", "--port=8000", "--host=0.0.0.0"),
            None,
        ),
        ({"odd.py": 'if __name__ == "__main__":\n    pass\n'}, ("python", "odd.py"), None),
    ],
)
def test_a_command_is_proposed_for_the_program_that_exists(
    files: dict[str, str], command: tuple[str, ...], path: str | None, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    [image] = write_definition(tmp_path).images.values()
    assert (image.command, image.env.get("PYTHONPATH")) == (command, path)


def test_a_console_script_is_started_from_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src/scans").mkdir(parents=True)
    (tmp_path / "src/scans/__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "scans"\ndependencies = ["numpy"]\n'
        '[project.scripts]\nscan = "scans:run"\n'
    )
    [image] = write_definition(tmp_path).images.values()
    assert image.command == ("python", "-c", "import sys; from scans import run; sys.exit(run())")
    assert image.env == {"PYTHONPATH": "/app/src"}
    lines = said(tmp_path, capsys).partition("Wrote layerline.toml.")[2].splitlines()
    following = [line for line in lines if line.startswith("  ")]
    assert [line.split()[2] for line in following] == ["lock", "build", "build"]
    assert "with-exec --use-entrypoint --args=" in following[2]


def test_without_a_program_the_file_says_where_to_write_it(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    write_definition(tmp_path)
    assert "no program was found" in (tmp_path / "layerline.toml").read_text()


def test_a_repository_of_several_projects_names_them(tmp_path: Path) -> None:
    for name in ("services/api", "training", "docs", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "requirements.txt").write_text("numpy\n")
    with pytest.raises(UsageError, match=r"run init in one of services/api, training$"):
        run_init(tmp_path)
