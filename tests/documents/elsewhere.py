"""What the documents show and a test cannot run: the one table, with the reason of each row.

Such a command is checked by tests/documents/checks.py, as all are. A row that no command matches
any more is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.documents.blocks import Command

IMAGES = (
    "builds this repository's own images, gigabytes of wheels: tests/integration/test_images.py"
)
DOCKER = "needs a daemon of docker that has this repository's images"
WORKLOAD = "needs the workload's libraries, which only the images have: ./layerline call test-train"
GPU = "needs an NVIDIA GPU and its driver"
MACHINE = "changes the machine that runs the tests"
ITSELF = "runs the tests inside a test"
BENCHMARK = "measures for minutes to hours; benchmarks/ are no tests"
CLOUD = "needs an account at a cloud"
HOSTS = "asks a host that only its owner has"
JOB = "needs the token of a CI job, or what it signed: tests/unit/attestation, tests/readers"
SECRETS = "needs a vault of 1Password"
ADVISORIES = "downloads the advisories of osv.dev and Debian's tracker, hundreds of megabytes"
PORT = "listens on all addresses of the machine: tests/unit/cli/commands/test_registry.py"

_OF_THE_REPOSITORY = (
    r"\./layerline call (build-|train |extract-features|serve-|cloud-run-manifest"
    r"|publish --image=api-cloudrun)|layerline call test-"
)


@dataclass(frozen=True, slots=True)
class Row:
    """Commands that match a pattern at their beginning, on some pages or on all."""

    pattern: str
    reason: str
    page: str = ""

    def matches(self, command: Command) -> bool:
        """Whether the row is about a command."""
        page = command.block.page
        return page.endswith(self.page) and re.match(self.pattern, command.text) is not None


ROWS = (
    Row(_OF_THE_REPOSITORY, IMAGES),
    Row(r"\./layerline call lock", IMAGES, "implementation-guide.md"),
    Row(r"docker run .*--gpus|sudo nvidia-ctk", GPU),
    Row(r"(DOCKER_BUILDKIT=1 )?docker ", DOCKER),
    Row(r"curl .*127\.0\.0\.1:800", DOCKER),
    Row(r"python3 -m http\.server|echo 'find-links", DOCKER, "docker-guide.md"),
    Row(r"invoke |(PYTHONPATH=src )?python -m (ct_scan_mlops|pytest)", WORKLOAD),
    Row(r"sudo chown|pre-commit install", MACHINE),
    Row(r"\./layerline test|\.venv/bin/(pytest|nox -s)", ITSELF),
    Row(r"(cd REPOSITORY; )?\.venv/bin/python -m benchmarks", BENCHMARK),
    Row(r"gcloud ", CLOUD),
    Row(r"layerline call --(index-url|snapshot)=", HOSTS),
    Row(r"layerline (install github|update words)", HOSTS),
    Row(r"curl -sH |layerline verify .*--identity=", JOB),
    Row(r"layerline call publish .*--registry-login=op:", SECRETS),
    Row(r"layerline call audit --image", ADVISORIES),
    Row(r"layerline registry --listen", PORT),
)


def reason(command: Command) -> str:
    """Why a command is not run; empty if it is."""
    return next((row.reason for row in ROWS if row.matches(command)), "")
