"""docker, podman and BuildKit: present, reachable, without known faults, the builder in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity
from layerline.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

_NEEDS_BUILDX = 23  # the first client that cannot speak to BuildKit without it
_GOOD_DRIVERS = frozenset({"docker", "docker-container", "kubernetes", "remote", "cloud"})


@dataclass(frozen=True)
class Fault:
    """A fault of versions from `since` up to, and without, `fixed`."""

    program: str
    since: tuple[int, ...]
    fixed: tuple[int, ...]
    what: str
    severity: Severity


FAULTS = (
    Fault("docker", (0,), (23,), "does not use BuildKit by default", Severity.MEDIUM),
    Fault(
        "docker",
        (0,),
        (24, 0, 9),
        "lets a build escape its container (CVE-2024-21626)",
        Severity.HIGH,
    ),
    Fault(
        "docker",
        (25,),
        (25, 0, 2),
        "lets a build escape its container (CVE-2024-21626)",
        Severity.HIGH,
    ),
    Fault(
        "buildkit",
        (0,),
        (0, 12, 5),
        "lets a build read and remove files of the host (CVE-2024-23651, CVE-2024-23652)",
        Severity.HIGH,
    ),
    Fault("podman", (0,), (4,), "does not support cache mounts in RUN", Severity.MEDIUM),
    Fault(
        "podman",
        (4,),
        (4, 9, 4),
        "lets a build access the host's files (CVE-2024-1753)",
        Severity.HIGH,
    ),
    Fault(
        "podman",
        (5,),
        (5, 0, 1),
        "lets a build access the host's files (CVE-2024-1753)",
        Severity.HIGH,
    ),
)


def check_docker(subject: Subject) -> Iterator[Observation]:
    """Present and reachable; Layerline itself needs neither."""
    docker = subject.docker
    if not docker.installed:
        message = "docker is not installed; Layerline does not need it"
        raise NotApplicable(message)
    if docker.error:
        denied = "permission denied" in docker.error.lower()
        commands = ("sudo usermod --append --groups docker $USER", "newgrp docker")
        start = ("sudo systemctl start docker", "docker info")
        yield Observation(
            f"docker's daemon cannot be used: {docker.error}", commands if denied else start
        )


def check_podman(subject: Subject) -> Iterator[Observation]:
    """Present and able to say where its storage is."""
    if subject.find("podman") is None:
        message = "podman is not installed"
        raise NotApplicable(message)
    try:
        subject.run_program("podman", "info", "--format", "{{.Store.GraphRoot}}")
    except CommandFailed as exc:
        yield Observation(f"podman does not work: {exc}", ("podman info", "podman system migrate"))


def check_versions(subject: Subject) -> Iterator[Observation]:
    """Known faults; a distribution may have fixed them in an older version."""
    for program, text in versions(subject).items():
        number = tuple(map(int, re.findall(r"\d+", text.split("+", 1)[0].split("-", 1)[0])[:3]))
        patched = "+" in text or "~" in text
        for fault in FAULTS:
            if fault.program == program and fault.since <= number < fault.fixed:
                hedge = "; the distribution may have fixed it" if patched else ""
                yield Observation(
                    f"{program} {text} {fault.what}{hedge}",
                    ("docker version",) if program != "podman" else ("podman version",),
                    severity=Severity.MEDIUM if patched else fault.severity,
                    facts={
                        "program": program,
                        "version": text,
                        "fixed": ".".join(map(str, fault.fixed)),
                    },
                )


def versions(subject: Subject) -> dict[str, str]:
    """The versions of the builders that answer, by name."""
    found = {}
    if subject.docker.server:
        found["docker"] = subject.docker.server
        for row in _builders(subject):
            for node in row.get("Nodes") or []:
                if row.get("Driver") != "docker" and node.get("Version"):
                    found["buildkit"] = str(node["Version"]).lstrip("v")
    if subject.find("podman") is not None:
        try:
            text = subject.run_program("podman", "--version").stdout.decode(errors="replace")
        except CommandFailed:
            return found  # check_podman reports it
        found["podman"] = text.split()[-1] if text.split() else ""
    return found


def check_builder(subject: Subject) -> Iterator[Observation]:
    """Buildx is installed, and its current builder runs with a driver that works."""
    subject.docker.require()
    plugins = [
        each.get("Name")
        for each in (subject.docker.info.get("ClientInfo") or {}).get("Plugins") or []
    ]
    if "buildx" not in plugins and _client(subject) < _NEEDS_BUILDX:
        yield Observation(
            "docker has no buildx: it builds with the classic builder by default",
            ("export DOCKER_BUILDKIT=1",),
            impact="No cache mounts, no parallel stages: Dockerfiles with --mount fail.",
            fix="Set DOCKER_BUILDKIT=1: this client includes BuildKit support.",
        )
        return
    if "buildx" not in plugins:
        yield Observation(
            "docker has no buildx: it builds with the classic builder",
            ("sudo apt-get install --yes docker-buildx-plugin",),
            impact="No cache mounts, no parallel stages: Dockerfiles with --mount fail.",
            fix="Install the buildx plugin.",
        )
        return
    for row in _builders(subject):
        if not row.get("Current"):
            continue
        name, driver = str(row.get("Name")), str(row.get("Driver"))
        troubles = [
            str(node.get("Err") or row.get("Err") or "") for node in row.get("Nodes") or [{}]
        ]
        stale = [text for text in troubles if text]
        if stale or driver not in _GOOD_DRIVERS:
            what = stale[0] if stale else f"its driver {driver or 'is unknown'}"
            commands = (
                f"docker buildx rm {name}",
                f"docker buildx create --name {name} --use --bootstrap",
            )
            facts = {"name": name, "driver": driver}
            yield Observation(
                f"the builder {name} is stale: {what}", commands, repair="builder", facts=facts
            )


def _client(subject: Subject) -> int:
    """The first number of the client's version."""
    text = subject.run_program("docker", "--version").stdout.decode(errors="replace")
    found = re.search(r"\d+", text)
    return int(found[0]) if found else _NEEDS_BUILDX


def _builders(subject: Subject) -> list[dict[str, Any]]:
    try:
        return subject.run_program_json("docker", "buildx", "ls", "--format", "{{json .}}")
    except (CommandFailed, ValueError):
        return []  # no buildx, or one that cannot write JSON yet


CHECKS = (
    Check(
        name="docker",
        title="docker's daemon answers",
        severity=Severity.MEDIUM,
        impact="Builds with docker fail at once; those with Layerline do not need it.",
        fix="Start the daemon, or give this user access to it.",
        run=check_docker,
    ),
    Check(
        name="podman",
        title="podman works",
        severity=Severity.MEDIUM,
        impact="Builds with podman fail at once; those with Layerline do not need it.",
        fix="Follow the error of podman info.",
        run=check_podman,
        waits=True,
    ),
    Check(
        name="builder-version",
        title="no builder has known faults",
        severity=Severity.HIGH,
        impact="Builds are slower, or less isolated, than they look.",
        fix="Update it.",
        run=check_versions,
        waits=True,
    ),
    Check(
        name="builder",
        title="the builder is running",
        severity=Severity.MEDIUM,
        impact="Builds hang or start without their cache.",
        fix="Recreate the builder.",
        run=check_builder,
        waits=True,
    ),
)
