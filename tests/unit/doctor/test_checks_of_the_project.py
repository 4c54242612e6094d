"""Each check of the project sees its condition, and is content where all is well."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from layerline.doctor.build_context import Excluded
from layerline.doctor.finding import Severity
from layerline.doctor.ignore import ESSENTIAL, ignore_lines, is_secret
from layerline.doctor.subject import MB, Limits

if TYPE_CHECKING:
    from tests.unit.doctor.conftest import Host

GOOD = """\
FROM python:3.12-slim
RUN --mount=type=cache,id=apt-v1,target=/var/lib/apt,sharing=locked \\
    apt-get update && apt-get install --yes git
COPY requirements.txt .
RUN --mount=type=cache,id=pip-v1,target=/root/.cache/pip \\
    pip install --require-hashes -r requirements.txt
COPY src/ /workspace/src/
RUN mkdir --parents /workspace/outputs
"""
SMELLS = (
    "dockerfile-outputs",
    "dockerfile-shared-cache",
    "dockerfile-cache",
    "dockerfile-apt-lists",
    "dockerfile-apt-update",
    "dockerfile-pip-hashes",
)


def sparse(host: Host, name: str, size: int) -> None:
    host.write(name, "")
    os.truncate(host.project / name, size)


@pytest.fixture
def healthy(host: Host) -> Host:
    host.write("Dockerfile", GOOD)
    host.write("requirements.txt", "")
    host.write("src/main.py", "")
    host.write(".dockerignore", "\n".join(ignore_lines((), host.project)))
    return host


@pytest.mark.parametrize(
    "check",
    [*SMELLS, "ignore-file", "ignore-copied", "ignore-secrets", "ignore-builders", "context-size"],
)
def test_a_good_project_has_nothing(healthy: Host, check: str) -> None:
    result = healthy.look(check)
    assert (result.status, result.findings) == ("ok", ())


@pytest.mark.parametrize("check", [*SMELLS, "ignore-file", "context-size"])
def test_without_a_dockerfile_there_is_nothing_to_check(host: Host, check: str) -> None:
    assert host.look(check).status == "skipped"


@pytest.mark.parametrize(
    ("check", "line", "severity"),
    [
        ("dockerfile-outputs", "COPY outputs/model.pt /model.pt", Severity.HIGH),
        ("dockerfile-outputs", 'COPY ["data", "/data"]', Severity.HIGH),
        ("dockerfile-cache", "RUN pip install torch", Severity.MEDIUM),
        ("dockerfile-cache", "RUN --mount=type=cache,target=/c pip install torch", Severity.INFO),
        ("dockerfile-apt-lists", "RUN apt-get update && apt-get install -y git", Severity.MEDIUM),
        ("dockerfile-apt-update", "RUN apt-get update", Severity.MEDIUM),
        ("dockerfile-pip-hashes", "RUN uv pip install torch", Severity.MEDIUM),
        ("dockerfile-pip-hashes", "RUN <<EOF\npip install torch\nEOF", Severity.MEDIUM),
    ],
)
def test_a_smell_is_found_in_its_line(
    host: Host, check: str, line: str, severity: Severity
) -> None:
    host.write("Dockerfile", f"# a comment\nFROM x\n\n{line}\n")
    [finding] = host.look(check).findings
    assert (finding.severity, finding.facts["line"]) == (severity, 4)


def test_one_cache_for_two_installers(host: Host) -> None:
    line = "RUN --mount=type=cache,id=all,target=/root/.cache {} install torch\n"
    host.write("Dockerfile", "FROM x\n" + line.format("pip") + line.format("uv pip"))
    [finding] = host.look("dockerfile-shared-cache").findings
    assert finding.facts["id"] == "all"
    host.write("Dockerfile", "FROM x\n" + line.format("pip") * 2)
    assert host.look("dockerfile-shared-cache").status == "ok"


def test_a_copy_from_a_stage_is_no_copy_of_the_context(host: Host) -> None:
    host.write("Dockerfile", "FROM x AS a\nFROM y\nCOPY --from=a /outputs /outputs\n")
    assert host.look("dockerfile-outputs").status == "ok"


def test_no_ignore_file_is_high_and_lacking_patterns_are_medium(healthy: Host) -> None:
    healthy.write(".dockerignore", ".git\n")
    [finding] = healthy.look("ignore-file").findings
    assert finding.severity is Severity.MEDIUM
    assert finding.facts["missing"] == [pattern for _, pattern in ESSENTIAL[1:]]
    (healthy.project / ".dockerignore").unlink()
    [finding] = healthy.look("ignore-file").findings
    assert (finding.severity, finding.repair) == (Severity.HIGH, "ignore-file")


def test_essential_patterns_count_by_their_effect(healthy: Host) -> None:
    healthy.write(".dockerignore", "*\n!src\n!requirements.txt\n**/__pycache__\n**/*.pyc\n")
    assert healthy.look("ignore-file").status == "ok"


def test_what_a_dockerfile_copies_is_not_asked_to_be_left_out(healthy: Host) -> None:
    healthy.write("Dockerfile", "FROM x\nCOPY data/labels.csv /labels.csv\n")
    healthy.write(".dockerignore", "")
    assert "data" not in healthy.look("ignore-file").findings[0].facts["missing"]


def test_a_pattern_that_docker_refuses(healthy: Host) -> None:
    healthy.write(".dockerignore", "[\n")
    [finding] = healthy.look("ignore-file").findings
    assert "syntax error" in finding.seen


def test_a_source_that_is_left_out(healthy: Host) -> None:
    healthy.write(".dockerignore", "src\n")
    [finding] = healthy.look("ignore-copied").findings
    assert (finding.facts["source"], finding.facts["line"]) == ("src", 7)
    healthy.write(".dockerignore", "src\n!src/main.py\n")
    assert healthy.look("ignore-copied").status == "ok"


def test_secrets_are_high_and_critical_where_everything_is_copied(healthy: Host) -> None:
    healthy.write(".dockerignore", "")
    healthy.write("deploy/.env", "TOKEN=1")
    [finding] = healthy.look("ignore-secrets").findings
    assert (finding.severity, finding.facts["paths"]) == (Severity.HIGH, ["deploy/.env"])
    healthy.write("Dockerfile", "FROM x\nCOPY . .\n")
    assert healthy.look("ignore-secrets").findings[0].severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (".env", True),
        (".env.local", True),
        (".env.example", False),
        ("id_rsa", True),
        ("id_rsa.pub", False),
        ("server.key", True),
        ("cacert.pem", False),
        ("gcp-credentials.json", True),
        ("service-account-7.json", True),
        ("package.json", False),
        ("environment.yml", False),
        ("monkey.py", False),
    ],
)
def test_which_names_look_like_secrets(name: str, secret: bool) -> None:  # noqa: FBT001
    assert is_secret(name) is secret


def test_builders_that_read_an_exception_differently(healthy: Host) -> None:
    healthy.write(".dockerignore", "src\n!**/main.py\n")
    assert healthy.look("ignore-builders").findings[0].facts["folder"] == "src"


def test_a_context_of_gigabytes_names_its_parts_and_the_lines(healthy: Host) -> None:
    assert Limits().context == 100 * MB
    sparse(healthy, "corpus/raw/a.bin", 1500 * MB)
    sparse(healthy, "corpus/raw/b.bin", 300 * MB)
    sparse(healthy, "model [v1].weights", 250 * MB)
    [finding] = healthy.look("context-size").findings
    assert finding.facts["size"] >= 2050 * MB
    parts = {each["path"]: each for each in finding.facts["parts"]}
    assert parts["corpus"]["size"] == 1800 * MB
    assert set(parts) == {"corpus", "model [v1].weights"}
    lines = "\n".join(each["ignore"] for each in finding.facts["parts"])
    old = (healthy.project / ".dockerignore").read_text()
    healthy.write(".dockerignore", f"{old}\n{lines}\n")
    assert healthy.look("context-size").status == "ok"


def test_a_part_that_is_copied_is_not_advised_away(healthy: Host) -> None:
    sparse(healthy, "src/weights.bin", 200 * MB)
    [finding] = healthy.look("context-size").findings
    assert finding.facts["parts"] == []


def test_just_100_mb_are_fine(healthy: Host) -> None:
    used = healthy.subject().context.size
    sparse(healthy, "blob.bin", 100 * MB - used)
    assert healthy.look("context-size").status == "ok"
    sparse(healthy, "blob.bin", 100 * MB - used + 1)
    assert healthy.look("context-size").status == "found"


def test_a_folder_that_cannot_be_read(healthy: Host) -> None:
    locked = healthy.project / "locked"
    locked.mkdir(mode=0o000)
    if os.access(locked, os.R_OK):
        pytest.skip("this user reads everything")
    assert healthy.look("context-readable").findings[0].facts["paths"] == ["locked"]


def test_two_stars_before_a_text_are_read_as_docker_does() -> None:
    excluded = Excluded(["**.ckpt", "!**best.ckpt", "**/x", "a**"])
    assert excluded.excludes("runs/1/last.ckpt")
    assert not excluded.excludes("runs/1/best.ckpt")
    assert excluded.excludes("d/x")
    assert excluded.excludes("abc/d")
