"""What docker, buildx and podman say of themselves, recorded, and what is made of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from layerline.doctor.checks.builders import FAULTS
from layerline.doctor.finding import Severity
from layerline.doctor.subject import Limits

if TYPE_CHECKING:
    from tests.unit.doctor.conftest import Host

INFO = {
    "ServerVersion": "27.3.1",
    "ClientInfo": {"Plugins": [{"Name": "buildx"}]},
    "DockerRootDir": "/nonexistent",
}
NODE = {"Name": "mine0", "Version": "v0.16.0", "Status": "running"}
BUILDER = {"Name": "mine", "Driver": "docker-container", "Current": True, "Nodes": [NODE]}


def docker(
    host: Host, *, info: object = INFO, builder: object = BUILDER, history: str = ""
) -> None:
    """A docker program that prints what it was recorded to print."""
    host.program(
        "docker",
        f"""case "$1 $2" in
"info --format") echo '{json.dumps(info)}' ;;
"buildx ls") echo '{json.dumps(builder)}' ;;
"buildx history") echo '{history}' ;;
esac""",
    )


def test_a_builder_in_order(host: Host) -> None:
    docker(host)
    for check in ("docker", "builder", "builder-version", "build-cache-records"):
        assert host.look(check).status == "ok"


def test_no_docker_is_nothing_to_check(host: Host) -> None:
    for check in ("docker", "podman", "builder", "build-cache", "build-cache-records"):
        assert host.look(check).status == "skipped"


def test_a_daemon_that_refuses_this_user_names_the_group(host: Host) -> None:
    host.program("docker", "echo 'permission denied while trying to connect' >&2; exit 1")
    [finding] = host.look("docker").findings
    assert "usermod" in finding.commands[0]


@pytest.mark.parametrize(
    "builder",
    [
        {**BUILDER, "Nodes": [{**NODE, "Err": "Cannot connect to the Docker daemon"}]},
        {**BUILDER, "Driver": "lxc"},
    ],
)
def test_a_stale_builder_is_recreated_by_name(host: Host, builder: object) -> None:
    docker(host, builder=builder)
    [finding] = host.look("builder").findings
    assert finding.repair == "builder"
    assert finding.commands[0] == "docker buildx rm mine"


def test_another_builder_may_be_stale(host: Host) -> None:
    docker(host, builder={**BUILDER, "Driver": "lxc", "Current": False})
    assert host.look("builder").status == "ok"


def test_a_daemon_that_hangs_is_not_waited_for_long(host: Host) -> None:
    host.program("docker", "exec /bin/sleep 30")
    began = time.monotonic()
    [finding] = host.look("docker", limits=Limits(daemon=0.2)).findings
    assert time.monotonic() - began < 5.0
    assert "timed out after 0.2 s" in finding.seen


def test_no_buildx(host: Host) -> None:
    docker(host, info={**INFO, "ClientInfo": {"Plugins": None}})
    assert "no buildx" in host.look("builder").findings[0].seen


@pytest.mark.parametrize(
    ("version", "severities"),
    [
        ("20.10.24", [Severity.MEDIUM, Severity.HIGH]),
        ("20.10.24+dfsg1", [Severity.MEDIUM, Severity.MEDIUM]),
        ("24.0.9", []),
        ("25.0.1", [Severity.HIGH]),
        ("25.0.2", []),
        ("28.2.2", []),
    ],
)
def test_faults_by_version(host: Host, version: str, severities: list[Severity]) -> None:
    docker(host, info={**INFO, "ServerVersion": version})
    assert [each.severity for each in host.look("builder-version").findings] == severities


def test_faults_of_buildkit_and_podman(host: Host) -> None:
    docker(host, builder={**BUILDER, "Nodes": [{**NODE, "Version": "v0.12.4"}]})
    host.program("podman", "echo podman version 4.3.1")
    found = host.look("builder-version").findings
    assert {each.facts["program"] for each in found} == {"buildkit", "podman"}


def test_every_fault_ends() -> None:
    assert all(fault.since < fault.fixed for fault in FAULTS)


def test_only_failures_of_the_cache_itself_count(host: Host) -> None:
    failed = {"ref": "a/b/c", "status": "Error", "error": "exit code: 1"}
    docker(host, history=json.dumps(failed))
    assert host.look("build-cache-records").status == "ok"
    docker(host, history=json.dumps({**failed, "error": "snapshot abc does not exist"}))
    assert host.look("build-cache-records").findings[0].facts["records"] == 1


def test_podman_that_does_not_work(host: Host) -> None:
    host.program("podman", "echo 'cannot set up namespace' >&2; exit 125")
    assert "cannot set up namespace" in host.look("podman").findings[0].seen
    host.program("podman")
    assert host.look("podman").status == "ok"


def test_a_cache_that_is_too_large(host: Host) -> None:
    row = {"Type": "Build Cache", "Size": "30.5GB", "Reclaimable": "20.1GB (65%)"}
    script = f"""case "$1 $2" in
"system df") echo '{json.dumps(row)}' ;;
*) echo '{json.dumps(INFO)}' ;;
esac"""
    host.program("docker", script)
    [finding] = host.look("build-cache").findings
    assert (finding.facts["size"], finding.facts["reclaimable"]) == (30_500_000_000, 20_100_000_000)
