"""The house rules that no linter knows: sizes, names, dependencies, launcher, what is tracked."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

import layerline
from layerline import command

HOME = Path(__file__).parents[2]
SHARED = HOME.parent / "shared" / "conformance"
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
REFUSED_NAMES = {"utils", "util", "helpers", "common", "misc", "manager", "managers"}
PYTHON = [*(HOME / "src").rglob("*.py"), *(HOME / "ci").rglob("*.py")]
PIPELINE = HOME / "src" / "layerline" / "pipeline"
WORKLOAD = HOME / "src" / "ct_scan_mlops"
# Found as programs, or by fsspec through the protocol of an address; never imported.
FOUND = {"gcsfs", "s3fs", "uv"}
IMPORT_NAMES = {
    "debian-inspector": "debian_inspector",
    "license-expression": "license_expression",
    "dagger-io": "dagger",
    "graphql-core": "graphql",
    "hydra-core": "hydra",
    "mlflow-skinny": "mlflow",
    "opentelemetry-api": "opentelemetry",
    "opentelemetry-proto": "opentelemetry",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "protobuf": "google",
    "python-multipart": "python_multipart",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
# The recordings name what the recording machine asked for; locks are nothing but names and hashes.
RECORDED = ("tests/conformance/", "src/layerline/resources/schema.graphql")
HOSTS = [
    # PyTorch's own index is named: layerline.toml has it for torch without CUDA, and for no other.
    *("pypi" + ".org", "pythonhosted" + ".org"),
    *("deb.debian" + ".org", "archive.ubuntu" + ".com", "registry.npmjs" + ".org"),
    *("ghcr" + ".io", "quay" + ".io", "nvcr" + ".io", "registry-1.docker" + ".io"),
]
MACHINE_PATHS = [
    "/" + "work/",
    "/opt/" + "wheels",
    "/opt/" + "pypi",
    "/root/" + ".pyenv",
    "/tmp/" + "w/",
]


def tracked() -> list[str]:
    argv: list[str | Path] = ["git", "-c", f"safe.directory={HOME}", "-C", HOME, "ls-files", "-z"]
    return [name for name in command.run(argv).stdout.decode().split("\0") if name]


def files_to_read() -> list[Path]:
    paths = [HOME / name for name in tracked() if not name.startswith(RECORDED)]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def distribution(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def declared(requirements: list[str]) -> set[str]:
    names = {distribution(requirement) for requirement in requirements} - FOUND
    return {IMPORT_NAMES.get(name, name) for name in names}


def imported(paths: list[Path]) -> set[str]:
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"layerline", "ci", "ct_scan_mlops"}


def test_no_module_is_longer_than_the_limit() -> None:
    lengths = {path.relative_to(HOME): len(path.read_text().splitlines()) for path in PYTHON}
    assert {path: n for path, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_the_limit() -> None:
    lengths = {
        f"{path.relative_to(HOME)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    parts = {path: set(path.relative_to(HOME).with_suffix("").parts) for path in PYTHON}
    assert [path for path, names in parts.items() if names & REFUSED_NAMES] == []


def test_every_import_is_declared_and_every_dependency_is_used() -> None:
    # What runs inside the images has the images' libraries.
    elsewhere = (PIPELINE / "probes", HOME / "ci" / "image_tests", WORKLOAD)
    ours = [path for path in PYTHON if not any(map(path.is_relative_to, elsewhere))]
    # The module of the pipeline has a distribution of its own, which says what else it needs.
    module = tomllib.loads((PIPELINE / "pyproject.toml").read_text())["project"]["dependencies"]
    optional = PROJECT["optional-dependencies"]["keyless"]
    assert declared([*PROJECT["dependencies"], *optional, *module]) == imported(ours)


def test_the_workload_declares_what_it_imports_as_an_extra() -> None:
    paths = [*WORKLOAD.rglob("*.py"), *HOME.glob("tasks.py")]
    wanted = PROJECT["optional-dependencies"]["workload"]
    assert declared(wanted) == imported(paths)


@pytest.mark.parametrize("lock", ["tool", "dev"])
def test_locks_hold_every_declared_requirement(lock: str) -> None:
    extras = PROJECT["optional-dependencies"]["dev"] if lock == "dev" else []
    text = (HOME / f"requirements/{lock}.txt").read_text()
    locked = re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)
    wanted = {distribution(requirement) for requirement in [*PROJECT["dependencies"], *extras]}
    assert wanted <= set(locked)


@pytest.mark.parametrize("module", ["ci", "src/layerline/pipeline"])
def test_a_modules_distribution_is_light_and_as_new_as_the_tool(module: str) -> None:
    # The Dagger engine installs it into its runtime: a dependency on uv replaces the running
    # program ("Text file busy"), and a version of dagger-io would contradict the engine's own.
    project = tomllib.loads((HOME / module / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [
        *("anyio", "cvss", "dagger-io", "debian-inspector", "license-expression"),
        *("opentelemetry-api", "packaging", "pydantic"),
    ]
    assert project["version"] == layerline.__version__


def test_the_wheel_holds_one_import_package() -> None:
    build = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"] == {"packages": ["src/layerline"]}


def test_every_line_of_a_lock_is_hashed() -> None:
    locks = [*(HOME / "requirements").glob("*.txt"), *(HOME / "locks").glob("*.txt")]
    assert locks
    for lock in locks:
        pins = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
        assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_every_dependency_has_a_line_that_says_what_for() -> None:
    text = (HOME / "docs/dependencies.md").read_text()
    described = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    extras = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
    wanted = {distribution(requirement) for requirement in [*PROJECT["dependencies"], *extras]}
    assert wanted | launcher_packages() <= described
    assert described <= wanted | launcher_packages() | {"hatchling", "python3-venv"}


def launcher_packages() -> set[str]:
    text = (HOME / "layerline").read_text()
    lists = re.findall(r"^(?:tool|test)_programs='([^']+)'", text, re.MULTILINE)
    assert len(lists) == 2
    return {pair.partition(":")[2] for pair in " ".join(lists).split()}


def test_ci_runs_exactly_what_the_readme_says() -> None:
    last = (HOME / ".ci/run").read_text().splitlines()[-1]
    assert last.endswith("&& exec ./layerline test")
    assert "\n    ./layerline test\n" in (HOME / "README.md").read_text()


def test_no_tracked_file_names_an_index_host_or_a_path_of_one_machine() -> None:
    words = [word.encode() for word in [*HOSTS, *MACHINE_PATHS]]
    found = {
        (path.relative_to(HOME).as_posix(), word.decode())
        for path in files_to_read()
        for word in words
        if word in path.read_bytes()
    }
    assert found == set()


def test_no_tracked_file_is_binary() -> None:
    assert [path for path in files_to_read() if b"\0" in path.read_bytes()] == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared beside this clone")
def test_the_vectors_are_the_shared_ones() -> None:
    ours = {
        path.name: path.read_bytes()
        for path in (HOME / "tests/conformance").iterdir()
        if path.is_file()
    }
    theirs = {path.name: path.read_bytes() for path in SHARED.iterdir() if path.is_file()}
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared beside this clone")
def test_the_next_vectors_that_pass_are_the_shared_ones() -> None:
    def vectors(directory: Path) -> dict[str, object]:
        documents = [json.loads(path.read_text()) for path in (directory / "next").glob("*.json")]
        return {vector["name"]: vector for each in documents for vector in each["vectors"]}

    ours, theirs = vectors(HOME / "tests/conformance"), vectors(SHARED)
    assert ours
    assert [name for name, vector in ours.items() if vector != theirs[name]] == []
