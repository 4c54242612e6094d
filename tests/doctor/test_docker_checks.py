"""The checks of docker, made with a real daemon."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.doctor.catalogue import CHECKS
from layerline.doctor.checks.disk import volumes
from layerline.doctor.finding import CheckResult, Severity
from layerline.doctor.runner import run_checks
from layerline.doctor.subject import Limits, Subject

if TYPE_CHECKING:
    from tests.docker import Docker

pytestmark = pytest.mark.slow


def look(docker: Docker, project: Path, check: str, **limits: int) -> CheckResult:
    environ = dict(docker.environ)
    subject = Subject.of(project, environ, limits=dataclasses.replace(Limits(), **limits))
    [result] = run_checks(subject, [each for each in CHECKS if each.name == check])
    return result


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
    # Its history is buildx's, and with one the daemon's version would have to be 23 or newer:
    # what a damaged record looks like is recorded in tests/unit/doctor/test_builders.py.
    assert look(docker, tmp_path, "build-cache-records").status in ("ok", "skipped")


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


@pytest.mark.parametrize("client", ["/usr/bin/docker", "/usr/local/bin/docker"])
def test_a_client_without_buildx_is_told(docker: Docker, tmp_path: Path, client: str) -> None:
    if not Path(client).exists():
        pytest.skip(f"{client} is not installed")
    (tmp_path / "docker").symlink_to(client)
    own = dataclasses.replace(docker, environ={**docker.environ, "PATH": str(tmp_path)})
    if b"buildx" in docker.run("info", "--format", "{{json .ClientInfo}}"):
        pytest.skip("buildx is installed: the check is content")
    version = command.run([client, "--version"]).stdout.decode().split()[2]
    [finding] = look(own, tmp_path, "builder").findings
    assert ("DOCKER_BUILDKIT=1" in finding.fix) == (int(version.split(".")[0]) < 23)


class Socket(http.client.HTTPConnection):
    """HTTP to a daemon's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def records(docker: Docker) -> list[int]:
    """The sizes of the cache's records that no image shares, by the daemon's own interface."""
    connection = Socket(docker.environ["DOCKER_HOST"].removeprefix("unix://"))
    connection.request("GET", "/system/df")
    document = json.loads(connection.getresponse().read())
    connection.close()
    return [each["Size"] for each in document["BuildCache"] or [] if not each["Shared"]]


def test_a_real_build_cache_is_measured_and_pruned(buildkit: Docker, tmp_path: Path) -> None:
    assert look(buildkit, tmp_path, "build-cache", build_cache=1_000_000_000).status == "ok"
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (tmp_path / "data").write_bytes(os.urandom(5_000_000))
    buildkit.run("build", ".", cwd=tmp_path)
    [finding] = look(buildkit, tmp_path, "build-cache", build_cache=4_000_000).findings
    assert sum(records(buildkit)) >= 5_000_000
    assert finding.facts["size"] == pytest.approx(sum(records(buildkit)), rel=0.01)
    buildkit.run("image", "prune", "--force", "--all")
    buildkit.run(*finding.commands[0].replace("10GB", "1MB").split()[1:])
    assert look(buildkit, tmp_path, "build-cache", build_cache=4_000_000).status == "ok"
    assert sum(records(buildkit)) < 4_000_000


def test_the_daemons_own_disk_is_one_that_matters(docker: Docker, tmp_path: Path) -> None:
    subject = Subject.of(tmp_path, dict(docker.environ))
    assert [each for each in volumes(subject) if "docker" in each.uses] != []
    assert subject.docker.root == docker.root
