"""Where wheels come from: an index behind TLS and a login, or caches with the network off."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import Settings, process_environ
from tests.images import cache_directory, serve
from tests.integration.conftest import Call, Project
from tests.integration.index import serving
from tests.integration.test_layers import (
    DEFINITION,
    ONE,
    THREE,
    TWO,
    environment,
    manifest,
)
from tests.integration.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.index import Index

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

LONGEST_SECONDS = 600.0
CANARY = "cAnArY-9f2b71"
LOGIN = f"reader:{CANARY}"
LOCK = ("lock", "--target=cpu", "export", "--path=locks/cpu.txt")
BUILD = ("build", "--image=small", "export", "--path=small.tar")


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, registry: str) -> dict[str, str]:
    """A home and a store of this module's own, and a registry that has the bases."""
    serve(registry, cache_directory(process_environ()))
    own = environment(tmp_path_factory.mktemp("home"), registry)
    return {**own, "CREDENTIALS": LOGIN}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """The index, which alone has the wheels."""
    place = tmp_path_factory.mktemp("index")
    wheels = place / "wheels"
    write_wheel(wheels, ONE, "1.0", requires=[f"{THREE}>=1"])
    write_wheel(wheels, TWO, "1.0", requires=[THREE])
    write_wheel(wheels, THREE, "1.0")
    with serving(wheels, place, login=LOGIN) as running:
        yield running


@pytest.fixture(scope="module")
def reached(index: Index) -> tuple[str, ...]:
    """The flags with which the index is reached, beside the one that has the installer."""
    place = index.wheels.parent
    trusted = Settings.from_environ(process_environ()).ca_bundle
    bundle = place / "bundle.pem"
    parts = [place / "authority.pem", *([trusted] if trusted else [])]
    bundle.write_bytes(b"".join(part.read_bytes() for part in parts))
    return (
        f"--extra-index-url={index.url}",
        f"--ca-bundle={bundle}",
        "--index-credentials=env:CREDENTIALS",
    )


def repository(home: Path, environ: dict[str, str], definition: str = DEFINITION) -> Project:
    (home / "src").mkdir(parents=True)
    (home / "src" / "train.py").write_text("print('training')\n")
    (home / "layerline.toml").write_text(definition)
    (home / "locks").mkdir()
    return Project(home=home, environ=environ)


def call(project: Project, *words: str) -> Call:
    return project.call("call", *words, timeout=LONGEST_SECONDS)


def without_network(project: Project, *words: str) -> Call:
    """A call in a network namespace that has nothing but its own loopback device."""
    inside = ("sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    argv = ["unshare", "--net", *inside, *project.argv("call", *words)]
    began = time.monotonic()
    done = command.run(
        argv, env=project.environ, cwd=project.home, timeout=LONGEST_SECONDS, expect=None
    )
    return Call(
        status=done.status,
        stdout=done.stdout.decode(),
        stderr=done.stderr.decode(),
        seconds=time.monotonic() - began,
    )


def ran(done: Call) -> list[str]:
    """The commands of the steps that ran, in their order; layers are installed by one command."""
    found = [line.partition(" withExec ")[2] for line in done.stderr.splitlines()]
    return [step.rpartition(" DONE ")[0] for step in found if " DONE [" in step]


def holding(words: list[str], *places: Path) -> list[str]:
    """The files that hold one of the words."""
    patterns = [part for word in words for part in ("-e", word)]
    done = command.run(
        ["grep", "-r", "-l", "--text", "--fixed-strings", *patterns, *places], expect=None
    )
    assert done.status in (0, 1), done.stderr
    return done.stdout.decode().splitlines()


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
    environ: dict[str, str],
    index: Index,
    reached: tuple[str, ...],
) -> tuple[Project, str]:
    """A repository built from the index, and all that was said meanwhile."""
    project = repository(tmp_path_factory.mktemp("built") / "repository", environ)
    said = ""
    for words in (LOCK, BUILD, ("evidence", "--image=small", "export", "--path=small.json")):
        done = call(project, *reached, *words)
        assert done.status == 0, done.stderr
        said += done.stdout + done.stderr
    assert 200 in index.answers
    return project, said


def test_credentials_are_in_no_layer_key_log_label_lock_or_output(
    built: tuple[Project, str], index: Index
) -> None:
    project, said = built
    words = [CANARY, index.header.removeprefix("Basic ")]
    assert not [word for word in words if word in said]
    assert holding(words, project.store, project.home) == []
    assert holding([f"{ONE}=="], project.home) == [str(project.home / "locks/cpu.txt")]


def test_an_index_needs_its_certificate_and_its_login(
    tmp_path: Path, environ: dict[str, str], reached: tuple[str, ...], index: Index
) -> None:
    project = repository(tmp_path / "repository", environ)
    [url, bundle, credentials] = reached
    without_bundle = call(project, url, credentials, *LOCK)
    assert without_bundle.status != 0
    assert "certificate" in without_bundle.stderr.lower()
    index.answers.clear()
    assert call(project, url, bundle, *LOCK).status != 0
    wrong = Project(home=project.home, environ={**environ, "CREDENTIALS": f"x:{CANARY}-not"})
    refused = call(wrong, *reached, *LOCK)
    assert refused.status != 0
    assert set(index.answers) == {401}
    assert CANARY not in refused.stderr


def test_a_password_in_the_url_of_an_index_is_refused(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    project = repository(tmp_path / "repository", environ)
    done = call(project, "--index-url=https://me:hidden@index.example/simple", *LOCK)
    assert done.status != 0
    assert "use --index-credentials=env:NAME with USER:PASSWORD" in done.stderr
    assert "hidden" not in done.stderr


def test_what_was_built_is_there_without_a_network(
    built: tuple[Project, str], reached: tuple[str, ...], tmp_path: Path
) -> None:
    project = built[0]
    before = manifest(project.home / "small.tar")
    again = ("build", "--image=small", "export", f"--path={tmp_path}/again.tar")
    done = without_network(project, *reached, "--offline", *again)
    assert done.status == 0, done.stderr
    assert done.containers() == []
    assert manifest(tmp_path / "again.tar") == before


def test_other_layers_are_made_from_caches_without_a_network(
    built: tuple[Project, str], reached: tuple[str, ...], tmp_path: Path
) -> None:
    before = manifest(built[0].home / "small.tar")[1]
    definition = DEFINITION.replace('"python3-venv", "tini"', '"python3-venv"')
    definition = definition.replace('commands = ["tini"]\n', "")
    shutil.copytree(built[0].home, tmp_path / "copy")
    project = Project(home=tmp_path / "copy", environ=built[0].environ)
    (project.home / "layerline.toml").write_text(definition)
    steps: list[str] = []
    for words in (LOCK, BUILD):
        done = without_network(project, *reached, "--offline", *words)
        assert done.status == 0, done.stderr
        steps += ran(done)
    for begin, times in {
        "sh -s -- python3-venv": 1,  # the system
        "sh -s -- /mnt/tools ": 1,  # the installer
        "/mnt/tools/bin/python -m layerline.pipeline.programs.resolve_or_explain_conflict": 1,
        'python3 -c \'"""Installs ': 3,  # each layer
    }.items():
        assert [step.startswith(begin) for step in steps].count(True) == times, (begin, steps)
    after = manifest(project.home / "small.tar")[1]
    assert len([layer for layer in after if layer not in before]) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('image = "python:3.11-slim"', 'image = "python:3.13-slim"', "the base image python:3.13"),
        ('"tini"]\n[targets', '"tini", "jq"]\n[targets', "not all packages (jq python3-venv tini)"),
        (f'["{TWO}"]', '["layerline-test-four"]', "not all of it is cached"),
    ],
)
def test_what_no_cache_has_is_named_and_what_to_do(
    old: str,
    new: str,
    said: str,
    built: tuple[Project, str],
    reached: tuple[str, ...],
    tmp_path: Path,
) -> None:
    definition = DEFINITION.replace(old, new)
    assert definition != DEFINITION
    project = repository(tmp_path / "repository", dict(built[0].environ), definition)
    shutil.copy(built[0].home / "locks/cpu.txt", project.home / "locks")
    done = without_network(project, *reached, "--offline", *LOCK)
    assert done.status != 0
    assert said in done.stderr
    assert "run the same command once without --offline" in done.stderr


def test_a_wheel_that_no_cache_has_is_named(
    built: tuple[Project, str], reached: tuple[str, ...], tmp_path: Path
) -> None:
    shutil.copytree(built[0].home, tmp_path / "copy")
    project = Project(home=tmp_path / "copy", environ=built[0].environ)
    lock = project.home / "locks/cpu.txt"
    lock.write_text(lock.read_text().replace(f"{TWO}==1.0", f"{TWO}==2.0"))
    done = without_network(project, *reached, "--offline", *BUILD)
    assert done.status != 0
    assert TWO in done.stderr
    assert "not all wheels are cached: run the same command once without --offline" in done.stderr
