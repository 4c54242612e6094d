"""The command line: statuses, the published schema, repairs, and what it needs to run."""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from layerline import command
from layerline.doctor import main
from layerline.doctor.catalogue import CHECKS
from layerline.doctor.finding import Check, CheckResult, Finding, Observation, Severity
from layerline.doctor.formatting import SCHEMA, exit_code, format_json, format_table
from layerline.doctor.repairs import REPAIRS
from layerline.doctor.runner import rank_findings, run_checks
from layerline.doctor.subject import Subject

HOME = Path(__file__).parents[3]
SOURCE = HOME / "src"
DOCTOR = SOURCE / "layerline/doctor"
LEAVES = [
    SOURCE / f"layerline/{name}.py"
    for name in (
        *("command", "dockerfile_lexer", "errors", "host", "kernel", "log", "patterns", "prompt"),
        "user_directories",
    )
]
DOCKERFILE = "FROM scratch\nCOPY . /\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    (place / "Dockerfile").write_text(DOCKERFILE)
    return place


def run_doctor(project: Path, *argv: str, environ: dict[str, str] | None = None) -> int:
    return main.run_doctor(["--project", str(project), *argv], environ or {"HOME": str(project)})


def matches(value: object, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """The part of JSON Schema that the published one uses."""
    if "$ref" in schema:
        return matches(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    types = {"string": str, "object": dict, "array": list, "boolean": bool, "null": type(None)}
    types.update({"integer": int, "number": (int, float)})  # type: ignore[dict-item]
    if not any(isinstance(value, types[kind]) for kind in kinds):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        closed = schema.get("additionalProperties", True) is False
        return (
            set(schema.get("required", ())) <= set(value)
            and not (closed and set(value) - set(known))
            and all(matches(value[k], known[k], root) for k in known if k in value)
        )
    if isinstance(value, list):
        return all(matches(each, schema["items"], root) for each in value)
    return not isinstance(value, int | float) or value >= schema.get("minimum", value)


def test_the_json_is_what_the_schema_says(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_doctor(project, "--json")
    document = json.loads(capsys.readouterr().out)
    schema = json.loads(SCHEMA.read_text())
    assert matches(document, schema, schema)
    assert status == int(not document["healthy"])
    assert [each["name"] for each in document["checks"]] == [check.name for check in CHECKS]
    del document["findings"][0]["fix"]
    assert not matches(document, schema, schema)


def test_names_of_checks_are_stable_and_single() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    kept = {"wsl-version", "wsl-source", "disk-space", "build-cache", "ignore-file", "context-size"}
    assert kept <= set(names)


def finding(severity: Severity) -> CheckResult:
    check = Check("x", "x", severity, "impact", "fix", lambda _: ())
    found = Finding("x", severity, "seen", "impact", "fix", ("do",), None, {})
    return CheckResult(check, "found", findings=(found,))


@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("fail_on", list(Severity))
def test_the_status_depends_on_the_gravest(severity: Severity, fail_on: Severity) -> None:
    order = ["critical", "high", "medium", "info"]
    grave = order.index(severity.value) <= order.index(fail_on.value)
    assert exit_code([finding(severity)], fail_on) == int(grave)


def refuse(_: Subject) -> list[Observation]:
    message = "not for you"
    raise PermissionError(message)


def test_a_check_that_cannot_be_made_is_told_and_does_not_count(project: Path) -> None:
    broken = Check("broken", "it works", Severity.CRITICAL, "", "", refuse)
    fine = Check("fine", "", Severity.INFO, "", "", lambda _: ())
    results = run_checks(Subject.of(project, {}), [broken, fine])
    assert exit_code(results, Severity.INFO) == 0
    document = json.loads(format_json(results, project=project, fail_on=Severity.INFO, seconds=0.0))
    schema = json.loads(SCHEMA.read_text())
    assert matches(document, schema, schema)
    assert (document["unknown"], document["healthy"]) == (["broken"], True)
    assert document["checks"][0]["reason"] == "PermissionError: not for you"
    text = format_table(results, colour=False)
    assert "unknown   it works: PermissionError: not for you" in text
    assert "not counted: broken." in text


def test_nothing_that_could_be_checked_is_not_health(project: Path) -> None:
    broken = Check("broken", "", Severity.INFO, "", "", refuse)
    assert exit_code(run_checks(Subject.of(project, {}), [broken]), Severity.CRITICAL) == 2


def test_fixes_are_recommended_gravest_first() -> None:
    results = [finding(each) for each in reversed(Severity)]
    assert [each.severity for each in rank_findings(results)] == list(Severity)


def test_colours_only_on_request() -> None:
    results = [finding(Severity.HIGH)]
    assert "\033[31mhigh" in format_table(results, colour=True)
    assert "\033" not in format_table(results, colour=False)


@pytest.mark.parametrize(
    "words",
    [
        ("--check", "no-such"),
        ("--fix", "no-such"),
        ("--project", "/nowhere"),
        ("--dockerfile", "no-such"),
    ],
)
def test_what_cannot_run_ends_with_2(project: Path, words: tuple[str, ...]) -> None:
    assert run_doctor(project, *words) == 2


def test_a_wrong_flag_ends_with_2(project: Path) -> None:
    assert run_doctor(project, "--no-such-flag") == 2


def test_fix_and_undo(project: Path) -> None:
    assert run_doctor(project, "--check", "ignore-file", "--fix", "--dry-run") == 0
    assert [each.name for each in project.iterdir()] == ["Dockerfile"]
    assert run_doctor(project, "--check", "ignore-file", "--fix") == 0
    assert run_doctor(project, "--check", "ignore-file") == 0
    first = (project / ".dockerignore").read_bytes()
    assert run_doctor(project, "--check", "ignore-file", "--fix", "ignore-file") == 0
    assert (project / ".dockerignore").read_bytes() == first
    assert run_doctor(project, "--undo") == 0
    assert [each.name for each in project.iterdir()] == ["Dockerfile"]


def test_undo_finds_the_files_of_dockerfiles_that_are_gone(project: Path) -> None:
    (project / "Dockerfile.dockerignore").write_text("x\n")
    run_doctor(project, "--fix", "ignore-file", "--check", "ignore-file")
    assert (project / "Dockerfile.dockerignore").read_text() != "x\n"
    (project / "Dockerfile").unlink()
    assert run_doctor(project, "--undo") == 0
    assert (project / "Dockerfile.dockerignore").read_text() == "x\n"


def test_checks_that_wait_do_so_together(project: Path) -> None:
    def wait(_: Subject) -> list[Observation]:
        time.sleep(0.4)
        return []

    checks = [
        Check(str(number), "", Severity.INFO, "", "", wait, waits=number > 0) for number in range(4)
    ]
    began = time.monotonic()
    results = run_checks(Subject.of(project, {}), checks)
    assert time.monotonic() - began < 1.2
    assert [each.check.name for each in results] == ["0", "1", "2", "3"]


def test_podmans_file_gets_podmans_ignore_file(project: Path) -> None:
    (project / "Dockerfile").rename(project / "Containerfile")
    run_doctor(project, "--check", "ignore-file", "--fix")
    assert (project / ".containerignore").exists()


def test_a_fix_never_leaves_out_what_is_copied(project: Path) -> None:
    (project / "weights").mkdir()
    (project / "weights/model.pt").touch()
    (project / "data").mkdir()
    (project / "data/labels.csv").touch()
    text = "FROM x\nCOPY data/labels.csv /\nCOPY weights/ /weights/\n"
    (project / "Dockerfile").write_text(text)
    run_doctor(project, "--check", "ignore-file", "--fix")
    lines = (project / ".dockerignore").read_text().splitlines()
    assert "data" not in lines
    assert "**/*.pt" not in lines
    assert "**/*.onnx" in lines


def test_commands_are_not_run_without_agreement(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    docker = programs / "docker"
    docker.write_text(
        f"""#!/bin/sh
echo "$*" >>{tmp_path}/calls
case "$1 $2" in
"system df") echo '{{"Type":"Build Cache","Size":"30.5GB","Reclaimable":"20GB"}}' ;;
*) echo '{{"ServerVersion":"27.0.1","Server":{{}}}}' ;;
esac
"""
    )
    docker.chmod(0o755)
    environ = {"PATH": f"{programs}:{os.defpath}", "HOME": str(tmp_path)}
    words = ("--check", "build-cache", "--fix", "build-cache")
    assert run_doctor(project, *words, "--dry-run", environ=environ) == 0
    assert "$ docker builder prune" in capsys.readouterr().out
    assert run_doctor(project, *words, environ=environ) == 2
    assert "--yes" in capsys.readouterr().err
    assert "prune" not in (tmp_path / "calls").read_text()
    assert run_doctor(project, *words, "--yes", environ=environ) == 0
    pruned = [line for line in (tmp_path / "calls").read_text().splitlines() if "prune" in line]
    assert pruned == ["builder prune --force --keep-storage 10GB"]


def test_the_script_is_for_sh_and_never_replaces_one(project: Path) -> None:
    assert run_doctor(project, "--generate-script") == 0
    script = project / "build.sh"
    command.run(["sh", "-n", script])
    assert os.access(script, os.X_OK)
    for part in ("1/4 prerequisites", "2/4 clean", "3/4 build", "4/4 test"):
        assert part in script.read_text()
    assert run_doctor(project, "--generate-script") == 2


def test_every_repair_is_named_by_a_check() -> None:
    text = "".join(path.read_text() for path in (DOCTOR / "checks").glob("*.py"))
    assert [name for name in REPAIRS if f'"{name}"' not in text] == []


@pytest.mark.parametrize("path", [*DOCTOR.rglob("*.py"), *LEAVES], ids=str)
def test_the_source_is_for_python_3_9_and_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            package = name.partition(".")[0]
            assert package == "layerline" or package in sys.stdlib_module_names
            assert not name.startswith(("layerline.engine", "layerline.settings", "tomllib"))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dataclass":
            assert {each.arg for each in node.keywords} <= {"frozen"}  # 3.9 knows no slots


def interpreters() -> list[str]:
    known = Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3")
    found = [command.find(f"python3.{minor}") for minor in range(9, 15)]
    return sorted({str(each.resolve()) for each in [*known, *found] if each is not None})


@pytest.mark.parametrize("python", interpreters())
def test_it_runs_alone_on_every_python_that_is_here(python: str, project: Path) -> None:
    version = command.run([python, "-c", "import sys; print(sys.version_info >= (3, 9))"]).stdout
    if version.strip() != b"True":
        pytest.skip("older than 3.9")
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); import layerline.doctor.__main__ as m"
    argv = [python, "-I", "-S", "-B", "-c", f"{start}; m.main()", str(SOURCE), "--json"]
    done = command.run(argv, cwd=project, expect=(0, 1), timeout=60.0)
    document = json.loads(done.stdout)
    assert [each["reason"] for each in document["checks"] if each["status"] == "failed"] == []


@pytest.mark.usefixtures("machine_root")
def test_it_runs_for_an_ordinary_user_with_a_home_that_cannot_be_written() -> None:
    if not SOURCE.stat().st_mode & 0o005:
        pytest.skip("others cannot read this checkout")
    start = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import layerline.doctor.__main__ as m"
    )
    argv: list[str | Path] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    argv += ["/usr/bin/python3", "-I", "-B", "-c", f"{start}; m.main()", "--json"]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "Dockerfile").write_text(DOCKERFILE)
        (place / "home").mkdir(mode=0o555)
        place.chmod(0o755)
        env = {"HOME": str(place / "home")}
        done = command.run(argv, cwd=place, env=env, expect=(0, 1), timeout=60.0)
    document = json.loads(done.stdout)
    assert [each["reason"] for each in document["checks"] if each["status"] == "failed"] == []
    assert "engine-privilege" in [each["check"] for each in document["findings"]]


def test_a_normal_repository_takes_less_than_two_seconds_of_work(project: Path) -> None:
    for number in range(2000):
        path = project / f"src/package{number % 50}/module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    before = os.times()
    run_doctor(project, "--json")
    after = os.times()
    assert sum(after[:4]) - sum(before[:4]) < 2.0
