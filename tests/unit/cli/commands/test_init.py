"""`init` on small repositories: the pipeline reads what it writes, and each guess is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.cli.commands.init import init
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.errors import UsageError
from layerline.pipeline.definition import Definition, parse_definition
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """\
[project]
name = "Lung_Scans"
dependencies = ["numpy>=2", "torch==2.14.*", "torchvision", "torchaudio", "lung-scans[api]"]
[project.optional-dependencies]
api = ["fastapi", "uvicorn[standard]", "gcsfs"]
gpu = ["jax[cuda13]"]
dev = ["pytest"]
"""
GROUPS = """\
[project]
name = "scans"
dependencies = ["numpy"]
[dependency-groups]
Tracking = ["boto3"]
all-of-it = [{ include-group = "tracking" }, "dvc", { include-group = "nowhere" }]
round = [{ include-group = "round" }]
dev = ["pytest", { include-group = "tracking" }]
"""
POETRY = """\
[tool.poetry]
name = "old"
[tool.poetry.dependencies]
python = "^3.11"
numpy = "^1.26"
tiny = "^0.3.1"
pandas = "*"
scipy = "1.11.4"
jax = { version = "~0.4.2", extras = ["cpu"] }
"""
DOCKERFILE = """\
FROM python:3.11-slim-bookworm AS build
RUN pip install poetry
FROM python:3.11-slim-bookworm
ENV MODE=production PATH=/x:$PATH
ENV GREETING "say \\"hi\\""
RUN apt-get update && apt-get install -y --no-install-recommends \\
    libgl1 gcc && rm -rf /var/lib/apt/lists/*
COPY . .
EXPOSE 8000/tcp
USER worker
HEALTHCHECK CMD ["python", "-m", "healthy"]
ENTRYPOINT ["python", "-m"]
CMD ["serve"]
"""


def run_init(home: Path, *argv: str) -> Console:
    console = Console(
        program="layerline",
        argv=[],
        options=Options.scan(["--workdir", str(home)]),
        settings=Settings.from_environ({"HOME": str(home)}),
    )
    assert init(console, argv) == 0
    return console


def write_definition(home: Path) -> Definition:
    run_init(home)
    return parse_definition((home / "layerline.toml").read_text())


def test_a_project_becomes_groups_by_subject_and_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    definition = write_definition(tmp_path)
    image = definition.image("lung-scans")
    assert (image.target, definition.target("cu13").cuda) == ("cu13", "13")
    assert image.groups == ("core", "pytorch", "jax", "api")
    assert definition.groups["core"].requirements_for("cu13") == ("numpy>=2",)
    api = definition.groups["api"].requirements_for("cu13")
    assert api == ("fastapi", "uvicorn[standard]", "gcsfs")
    assert definition.groups["pytorch"].probes == ("pytorch",)
    assert definition.groups["cudnn"].claims == ("nvidia-cudnn-*",)
    said = capsys.readouterr().err
    assert "the extra 'dev': left out, as it develops the project" in said
    assert "target cu13: because of the requirement 'jax[cuda13]'" in said
    assert "layerline call lock --target=cu13 export --path=locks/cu13.txt" in said


def test_dependency_groups_are_read_with_those_they_include(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(GROUPS)
    groups = write_definition(tmp_path).groups
    assert groups["core"].requirements_for("cpu") == ("numpy",)
    assert groups["tracking"].requirements_for("cpu") == ("boto3",)
    assert groups["all-of-it"].requirements_for("cpu") == ("boto3", "dvc")
    assert {"dev", "round"}.isdisjoint(groups)
    said = capsys.readouterr().err
    assert "the dependency group 'dev': left out, as it develops the project" in said
    assert "{'include-group': 'nowhere'} left out, as it names an unknown group" in said


def test_versions_of_poetry_are_written_in_the_common_form(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(POETRY)
    groups = write_definition(tmp_path).groups
    assert groups["core"].requirements_for("cpu") == (
        *("numpy>=1.26,<2", "tiny>=0.3.1,<0.4", "pandas", "scipy==1.11.4"),
    )
    assert groups["jax"].requirements_for("cpu") == ("jax[cpu]>=0.4.2,<0.5",)


def test_files_of_requirements_are_read_without_hashes_options_and_tools(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").write_text(
        "--index-url https://user:secret@index.example/simple\n"
        "numpy==2.1 \\\n    --hash=sha256:aa\n\npyyaml  # for settings\n"
        "./vendored\nown @ git+https://me:secret@host.example/own\n"
        "importlib-metadata; python_version < '3.8'\n"
    )
    (tmp_path / "requirements-serving.txt").write_text("-r requirements.txt\nboto3\n")
    (tmp_path / "requirements-dev.txt").write_text("ruff\n")
    groups = write_definition(tmp_path).groups
    assert groups["core"].requirements_for("cpu") == (
        *("numpy==2.1", "pyyaml", "importlib-metadata; python_version < '3.8'"),
    )
    assert groups["serving"].requirements_for("cpu") == ("boto3",)
    assert "dev" not in groups
    said = capsys.readouterr().err
    assert "'./vendored' left out" in said
    assert "--index-url left out" in said
    assert "secret" not in said + (tmp_path / "layerline.toml").read_text()


def test_a_dockerfile_says_how_the_image_starts(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    definition = write_definition(tmp_path)
    [image] = definition.images.values()
    assert definition.base.image == "debian:bookworm-slim"
    assert definition.base.packages[-1] == "libgl1"
    assert image.env == {"MODE": "production", "GREETING": 'say "hi"'}
    assert (image.ports, image.user) == ((8000,), "worker")
    assert image.healthcheck == ("python", "-m", "healthy")
    assert (image.entrypoint, image.command) == (("tini", "--", "python", "-m"), ("serve",))


@pytest.mark.parametrize(
    ("base", "image", "cuda"),
    [
        ("nvidia/cuda:12.4.1-runtime-ubuntu22.04", "debian:bookworm-slim", "12"),
        ("pytorch/pytorch:2.4.0-cuda12.1-cudnn9-runtime", "debian:bookworm-slim", "12"),
        ("ubuntu:24.04", "ubuntu:24.04", ""),
        ("docker.io/library/debian:trixie-slim", "debian:trixie-slim", ""),
    ],
)
def test_a_base_image_gives_the_distribution_and_the_target(
    base: str, image: str, cuda: str, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("torch\n")
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\n")
    definition = write_definition(tmp_path)
    assert definition.base.image == image
    assert [target.cuda for target in definition.targets.values()] == [cuda]


def test_an_existing_file_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "layerline.toml").write_text("mine\n")
    with pytest.raises(UsageError, match="already exists: remove it first, or print"):
        run_init(tmp_path)
    assert (tmp_path / "layerline.toml").read_text() == "mine\n"


def test_a_dry_run_prints_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    run_init(tmp_path, "--dry-run")
    core = parse_definition(capsys.readouterr().out).groups["core"]
    assert core.requirements_for("cpu") == ("numpy",)
    assert not (tmp_path / "layerline.toml").exists()


def test_where_nothing_is_found_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no requirements found"):
        run_init(tmp_path)


def test_a_project_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(UsageError, match=r"pyproject.toml is not valid TOML"):
        run_init(tmp_path)
