"""The checks of docker, made with a real daemon."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from layerline.doctor.catalogue import CHECKS
from layerline.doctor.checks.disk import volumes
from layerline.doctor.examination import examine
from layerline.doctor.finding import Outcome, Severity
from layerline.doctor.subject import Limits, Subject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docker import Docker

pytestmark = pytest.mark.slow


def look(docker: Docker, project: Path, check: str, **limits: int) -> Outcome:
    environ = dict(docker.environ)
    subject = Subject.of(project, environ, limits=dataclasses.replace(Limits(), **limits))
    [outcome] = examine(subject, [each for each in CHECKS if each.name == check])
    return outcome


def test_a_daemon_that_answers_is_fine(docker: Docker, tmp_path: Path) -> None:
    assert look(docker, tmp_path, "docker").status == "ok"


def test_a_daemon_that_does_not_answer_is_told(docker: Docker, tmp_path: Path) -> None:
    gone = dataclasses.replace(docker, environ={"DOCKER_HOST": f"unix://{tmp_path}/sock"})
    [finding] = look(gone, tmp_path, "docker").findings
    assert "daemon" in finding.seen
    assert look(gone, tmp_path, "build-cache").status == "skipped"


def test_the_build_cache_is_measured(docker: Docker, tmp_path: Path) -> None:
    assert look(docker, tmp_path, "build-cache").status == "ok"
    [finding] = look(docker, tmp_path, "build-cache", build_cache=-1).findings
    assert (finding.facts["size"], finding.repair) == (0, "build-cache")
    assert look(docker, tmp_path, "build-cache-records").status == "ok"


def test_the_prune_that_is_advised_is_one_that_docker_knows(docker: Docker, tmp_path: Path) -> None:
    [finding] = look(docker, tmp_path, "build-cache", build_cache=-1).findings
    for text in finding.commands:
        docker.run(*text.split()[1:])


def test_the_versions_are_read_and_a_distributions_own_is_judged_mildly(
    docker: Docker, tmp_path: Path
) -> None:
    server = docker.run("version", "--format", "{{.Server.Version}}").decode().strip()
    found = look(docker, tmp_path, "builder-version").findings
    assert {each.facts["version"] for each in found} <= {server}
    if server.startswith("20.10"):
        assert {each.severity for each in found} == {Severity.MEDIUM}


def test_a_client_without_buildx_is_told(docker: Docker, tmp_path: Path) -> None:
    has = b"buildx" in docker.run("info", "--format", "{{json .ClientInfo}}")
    outcome = look(docker, tmp_path, "builder")
    assert has or "buildx" in outcome.findings[0].seen


def test_the_daemons_own_disk_is_one_that_matters(docker: Docker, tmp_path: Path) -> None:
    subject = Subject.of(tmp_path, dict(docker.environ))
    assert [each for each in volumes(subject) if "docker" in each.uses] != []
    assert subject.docker.root == docker.root
