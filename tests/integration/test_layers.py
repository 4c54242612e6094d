"""The pipeline for a repository that has nothing but a layerline.toml, with small wheels."""

from __future__ import annotations

import json
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

from layerline.pipeline.bytecode import OWN_STEP
from layerline.settings import process_environ
from tests.images import cache_directory, serve
from tests.integration.conftest import SOURCE, Call, Project
from tests.integration.wheels import library_that_lacks, write_wheel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

LONGEST_SECONDS = 900.0
LONGEST_REFUSAL_SECONDS = 30.0
ONE, TWO, THREE = (f"layerline-test-{name}" for name in ("one", "two", "three"))
DEFINITION = f"""\
[base]
image = "python:3.11-slim"
packages = ["python3-venv", "tini"]
[targets.cpu]
[groups.first]
requirements = ["{ONE}"]
[groups.second]
requirements = ["{TWO}"]
[images.small]
target = "cpu"
groups = ["first", "second"]
source = ["src/**"]
directories = ["data", "outputs/logs"]
env = {{ LEVEL = "1" }}
ports = [8000]
budget_mb = 400
commands = ["tini"]
"""
TURNED = (
    DEFINITION.replace(f'[groups.first]\nrequirements = ["{ONE}"]\n', "")
    .replace("[images.small]", f'[groups.first]\nrequirements = ["{ONE}"]\n[images.small]')
    .replace('["first", "second"]', '["second", "first"]')
)


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, registry: str) -> dict[str, str]:
    """A home and a store of this module's own, and a registry that has the bases."""
    serve(registry, cache_directory(process_environ()))
    return environment(tmp_path_factory.mktemp("home"), registry)


def environment(home: Path, registry: str) -> dict[str, str]:
    own = {
        "HOME": str(home),
        "LAYERLINE_STORE": str(home / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{registry}",
        "PYTHONPATH": str(SOURCE),
    }
    return {**process_environ(), **own}


def repository(home: Path, environ: dict[str, str], definition: str = DEFINITION) -> Project:
    """A repository with wheels, a source file and its definition."""
    wheels = home / "wheels"
    write_wheel(wheels, ONE, "1.0", requires=[f"{THREE}>=1"])
    write_wheel(wheels, TWO, "1.0", requires=[THREE])
    write_wheel(wheels, THREE, "1.0")
    (home / "src").mkdir()
    (home / "src" / "train.py").write_text("print('training')\n")
    (home / "layerline.toml").write_text(definition)
    (home / "locks").mkdir()
    return Project(home=home, environ=environ)


def call(project: Project, *words: str) -> Call:
    return project.call("call", "--wheelhouse=wheels", *words, timeout=LONGEST_SECONDS)


def lock(project: Project) -> None:
    done = call(project, "lock", "--target=cpu", "export", "--path=locks/cpu.txt")
    assert done.status == 0, done.stderr


def build(project: Project) -> Call:
    return call(project, "build", "--image=small", "export", "--path=small.tar")


def refused(project: Project) -> str:
    """What a build that must not succeed says."""
    lock(project)
    done = build(project)
    assert done.status != 0
    assert not (project.home / "small.tar").exists()
    return done.stderr


def manifest(archive: Path) -> tuple[str, list[str], dict[str, object]]:
    """The digest of an archive's image, those of its layers, and its configuration."""
    with tarfile.open(archive) as tar:

        def document(name: str) -> dict[str, object]:
            file = tar.extractfile(name)
            assert file is not None
            found: dict[str, object] = json.load(file)
            return found

        index = json.loads(json.dumps(document("index.json")))
        digest = index["manifests"][0]["digest"]
        image = json.loads(json.dumps(document(f"blobs/sha256/{digest[7:]}")))
        config = document(f"blobs/sha256/{image['config']['digest'][7:]}")
    return digest, [layer["digest"] for layer in image["layers"]], config


def files_of(archive: Path, layers: list[str], *, without: list[str]) -> list[str]:
    """The files in some layers of an archive."""
    found = []
    with tarfile.open(archive) as tar:
        for digest in layers:
            if digest not in without:
                blob = tar.extractfile(f"blobs/sha256/{digest[7:]}")
                with tarfile.open(fileobj=blob) as layer:
                    found += [member.name for member in layer if member.isfile()]
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Project:
    """A repository whose image has been built."""
    project = repository(tmp_path_factory.mktemp("first"), environ)
    lock(project)
    done = build(project)
    assert done.status == 0, done.stderr
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path, environ: dict[str, str]) -> Project:
    """A copy of what was built, to be changed."""
    shutil.copytree(built.home, tmp_path / "copy")
    return Project(home=tmp_path / "copy", environ=environ)


def test_the_image_is_the_same_from_another_place_store_time_and_order(
    built: Project, tmp_path: Path, registry: str
) -> None:
    home = tmp_path / "elsewhere"
    home.mkdir()
    other = repository(home, environment(tmp_path / "home", registry), TURNED)
    lock(other)
    done = build(other)
    assert done.status == 0, done.stderr
    assert manifest(other.home / "small.tar")[:2] == manifest(built.home / "small.tar")[:2]


def test_the_image_carries_what_its_probes_found(built: Project) -> None:
    config = json.loads(json.dumps(manifest(built.home / "small.tar")[2]["config"]))
    evidence = json.loads(config["Labels"]["layerline.evidence"])
    assert [each["subject"] for each in evidence] == ["shared", "first", "second", "image small"]
    assert evidence[1]["packages"][0]["name"] == ONE
    assert {one["result"] for each in evidence for one in each["probes"]} == {"passed"}
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert config["User"] == "app"


def test_another_version_makes_one_layer_and_another_source_none(
    built: Project, project: Project
) -> None:
    before = manifest(built.home / "small.tar")[1]
    (project.home / "src" / "train.py").write_text("print('more')\n")
    assert build(project).status == 0
    changed = [layer for layer in manifest(project.home / "small.tar")[1] if layer not in before]
    assert len(changed) == 1

    write_wheel(project.home / "wheels", TWO, "2.0", requires=[THREE])
    upgraded = call(
        *(project, "lock", "--target=cpu", f"--upgrade={TWO}"),
        *("export", "--path=locks/cpu.txt"),
    )
    assert upgraded.status == 0, upgraded.stderr
    assert build(project).status == 0
    newer = [layer for layer in manifest(project.home / "small.tar")[1] if layer not in before]
    assert len(newer) == 3  # the packages, their bytecode, the source
    assert newer[-1] == changed[0]


def test_a_changed_source_file_repeats_no_probe_of_packages(project: Project) -> None:
    """A line with its seconds: a probe that ran again would have taken others."""
    before = image_probes(project)
    (project.home / "src/train.py").write_text("print('train')\n" + "#" * 3_000_000)
    after = image_probes(project)
    assert [line.split()[2] for line in after] == [
        "owners",
        "orders",
        "absent",
        "commands",
        "budget",
    ]
    assert after[:3] == before[:3]
    assert after[3:] != before[3:]
    [old, new] = (int(them[-1].split()[-4]) for them in (before, after))
    assert new - old == 3


def image_probes(project: Project) -> list[str]:
    """What each probe of the image found."""
    done = call(project, "validate", "--image=small")
    assert done.status == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("image small: ")]


def test_bytecode_has_layers_of_its_own_and_can_be_left_out(
    built: Project, project: Project
) -> None:
    layers = manifest(built.home / "small.tar")[1]
    (project.home / "layerline.toml").write_text(DEFINITION + "bytecode = false\n")
    done = build(project)
    assert done.status == 0, done.stderr
    without = manifest(project.home / "small.tar")[1]
    # One above each group's and the shared packages' layer; the others stay.
    assert [layer for layer in layers if layer in without] == without
    assert len(layers) == len(without) + 3
    place = "opt/venv/lib/python3.11/site-packages"
    assert sorted(files_of(built.home / "small.tar", layers, without=without)) == [
        f"{place}/layerline_test_{name}/__pycache__/__init__.cpython-311.pyc"
        for name in ("one", "three", "two")
    ]
    names = files_of(project.home / "small.tar", without, without=[])
    assert not [name for name in names if name.startswith("opt/venv") and name.endswith(".pyc")]


def test_a_changed_package_compiles_itself_alone(tmp_path: Path, environ: dict[str, str]) -> None:
    """Of two packages of one layer, each large enough for a step of its own."""
    toml = DEFINITION.replace(f'["{ONE}"]', f'["{ONE}", "{TWO}"]').replace(
        f'[groups.second]\nrequirements = ["{TWO}"]\n', ""
    )
    project = repository(tmp_path, environ, toml.replace('["first", "second"]', '["first"]'))

    def write(name: str, version: str) -> None:
        text = f"VERSION = {version}\n" + f"{'#' * 99}\n" * (OWN_STEP // 100)
        files = {f"{name.replace('-', '_')}/large.py": text.encode()}
        write_wheel(project.home / "wheels", name, version, requires=[THREE], files=files)

    write(ONE, "1.0")
    write(TWO, "1.0")
    lock(project)
    assert len(compiling(build(project))) == 3  # these, and the shared one
    write(TWO, "2.0")
    again = ("lock", "--target=cpu", f"--upgrade={TWO}", "export", "--path=locks/cpu.txt")
    assert call(project, *again).status == 0
    assert len(compiling(build(project))) == 1


def compiling(done: Call) -> list[str]:
    """The lines of the steps of a build that compiled; they have one name."""
    assert done.status == 0, done.stderr
    return [line for line in done.stderr.splitlines() if " -I -S -c " in line and " DONE " in line]


def test_an_edit_in_a_container_of_the_image_is_imported(built: Project) -> None:
    """Of the same size and time: by these alone (PEP 552) it would be ignored."""
    module = "/opt/venv/lib/python3.11/site-packages/layerline_test_one/__init__.py"
    show = "python -c 'import layerline_test_one as x; print(x.version); print(x.__cached__)'"
    edit = f"touch -r {module} /tmp/time; sed -i s/1.0/9.9/ {module}; touch -r /tmp/time {module}"
    edited = ("with-user", "--name=root", "with-exec", f"--args=sh,-c,{show}; {edit}; {show}")
    done = call(built, "build", "--image=small", *edited, "stdout")
    assert done.status == 0, done.stderr
    cached = "/opt/venv/lib/python3.11/site-packages/layerline_test_one/__pycache__"
    assert done.stdout.split() == [
        *("1.0", f"{cached}/__init__.cpython-311.pyc"),
        *("9.9", f"{cached}/__init__.cpython-311.pyc"),
    ]


def test_a_wheel_that_nobody_asked_for_starts_nothing(project: Project) -> None:
    write_wheel(project.home / "wheels", "layerline-test-four", "1.0")
    done = build(project)
    assert (done.status, done.containers()) == (0, []), done.stderr


def test_a_library_that_is_missing_ends_the_build(tmp_path: Path, environ: dict[str, str]) -> None:
    project = repository(tmp_path, environ)
    broken = {"layerline_test_two/lib.so": library_that_lacks(b"libx.so.6")}
    write_wheel(project.home / "wheels", TWO, "2.0", requires=[THREE], files=broken)
    said = refused(project)
    assert "layerline_test_two/lib.so needs libx.so.6, which is not installed" in said
    assert "probe 'libraries' of second failed" in said


def test_a_cuda_package_is_refused_when_a_target_without_cuda_is_locked(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    project = repository(tmp_path, environ)
    write_wheel(project.home / "wheels", TWO, "2.0", requires=["nvidia-layerline-test"])
    write_wheel(project.home / "wheels", "nvidia-layerline-test", "1.0")
    done = call(project, "lock", "--target=cpu", "export", "--path=locks/cpu.txt")
    assert done.status != 0
    assert "target cpu has no cuda, but its lock would have nvidia-layerline-test\n" in done.stderr
    assert f"  group second requires {TWO}, which brings nvidia-layerline-test\n" in done.stderr
    assert not (project.home / "locks/cpu.txt").exists()


def test_an_image_over_its_budget_ends_the_build(tmp_path: Path, environ: dict[str, str]) -> None:
    definition = DEFINITION.replace("budget_mb = 400", "budget_mb = 20")
    said = refused(repository(tmp_path, environ, definition))
    assert "MB, its budget is 20 MB" in said


@pytest.mark.usefixtures("built")
def test_requirements_that_exclude_each_other_are_explained(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    definition = DEFINITION.replace(f'["{TWO}"]', f'["{TWO}", "{THREE}==2.0"]')
    project = repository(tmp_path, environ, definition)
    write_wheel(project.home / "wheels", ONE, "1.0", requires=[f"{THREE}<2"])
    write_wheel(project.home / "wheels", THREE, "2.0")
    done = call(project, "lock", "--target=cpu", "export", "--path=locks/cpu.txt")
    assert done.status != 0
    assert done.seconds < LONGEST_REFUSAL_SECONDS
    assert f"  first: {ONE}\n" in done.stderr
    assert f"  second: {THREE}==2.0\n" in done.stderr
    assert f"second: {THREE} instead of {THREE}==2.0 (resolves to 1.0)" in done.stderr
    assert "separate targets for images with first and images with the other groups" in done.stderr


def test_a_lock_that_does_not_fit_the_definition_is_told(project: Project) -> None:
    assert call(project, "lock", "--target=cpu", "--check", "size").status == 0
    asked = DEFINITION.replace(f'"{TWO}"]', f'"{TWO}", "six"]')
    (project.home / "layerline.toml").write_text(asked)
    done = call(project, "lock", "--target=cpu", "--check", "size")
    assert done.status != 0
    assert "locks/cpu.txt is out of date with layerline.toml" in done.stderr


def test_a_user_that_the_base_has_keeps_its_ids(project: Project) -> None:
    """Debian's base-passwd gives www-data the ids 33:33."""
    definition = DEFINITION.replace("ports =", 'user = "www-data"\nports =')
    (project.home / "layerline.toml").write_text(definition)
    asked = ("with-exec", "--args=id", "stdout")
    done = call(project, "build", "--image=small", *asked)
    assert done.status == 0, done.stderr
    assert done.stdout == "uid=33(www-data) gid=33(www-data) groups=33(www-data)\n"


def test_a_plan_starts_nothing_and_names_what_changed(project: Project) -> None:
    kept = call(project, "evidence", "--image=small", "export", "--path=small.json")
    assert kept.status == 0, kept.stderr
    assert kept.containers() == []
    same = call(project, "plan", "--image=small", "--earlier=small.json")
    assert "all steps of small are cached\n" in same.stdout

    (project.home / "src" / "train.py").write_text("print('more')\n")
    (project.home / "src" / "model.py").write_text("")
    lines = (project.home / "locks" / "cpu.txt").read_text()
    newer = lines.replace(f"{TWO}==1.0", f"{TWO}==9.0")
    (project.home / "locks" / "cpu.txt").write_text(newer)
    done = call(project, "plan", "--image=small", "--earlier=small.json")
    assert done.status == 0, done.stderr
    assert done.containers() == []
    assert f"run     second: {TWO} 1.0 -> 9.0\n" in done.stdout
    assert "cached  first\n" in done.stdout
    source = "source: src/model.py new, src/train.py changed"
    assert f"run     small and its probes: {source}; layers\n" in done.stdout
    assert "expected: at most 0 MB to download, 0 MB more on disk; " in done.stdout


def test_a_plan_names_the_base_and_the_key_that_changed(project: Project) -> None:
    kept = call(project, "evidence", "--image=small", "export", "--path=small.json")
    assert kept.status == 0, kept.stderr
    definition = DEFINITION.replace("python:3.11-slim", "debian:bookworm-slim")
    definition = definition.replace("budget_mb = 400", "budget_mb = 500")
    (project.home / "layerline.toml").write_text(definition)
    done = call(project, "plan", "--image=small", "--earlier=small.json")
    assert done.status == 0, done.stderr
    assert done.containers() == []
    [base, *_, whole, _] = done.stdout.splitlines()
    assert base.startswith("run     base: base: docker.io/library/python:3.11-slim@sha256:")
    assert "run     first: its base\n" in done.stdout
    assert "run     second: its base\n" in done.stdout
    assert "images.small.budget_mb changed; probe budget changed; layers" in whole


def test_a_layer_that_is_too_large_is_split_by_package(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    grouped = DEFINITION.replace(f'["{ONE}"]', f'["{ONE}", "{TWO}"]').replace(
        f'[groups.second]\nrequirements = ["{TWO}"]\n', ""
    )
    grouped = grouped.replace('["first", "second"]', '["first"]')
    project = repository(tmp_path, environ, grouped)
    for name in (ONE, TWO):
        files = {f"{name}.bin": b"x" * 700_000}
        write_wheel(project.home / "wheels", name, "1.0", requires=[THREE], files=files)
    lock(project)
    assert build(project).status == 0
    together = manifest(project.home / "small.tar")[1]
    limited = grouped.replace("budget_mb", "max_layer_mb = 1\nbudget_mb")
    (project.home / "layerline.toml").write_text(limited)
    done = build(project)
    assert done.status == 0, done.stderr
    parts = manifest(project.home / "small.tar")[1]
    assert len(parts) == len(together) + 1
    assert len(set(parts) - set(together)) == 2


@pytest.mark.usefixtures("environ")  # the base images are in the registry
def test_another_machine_publishes_without_a_container(tmp_path: Path, registry: str) -> None:
    """The environment of the module is made before: it is no part of the image."""
    cache = {"LAYERLINE_CACHE": f"{registry}/team/cache", "LAYERLINE_CACHE_MODE": "read,write"}
    (tmp_path / "first").mkdir()
    first = repository(tmp_path / "first", {**environment(tmp_path / "a", registry), **cache})
    lock(first)
    published = call(first, "publish", "--image=small", f"--address={registry}/images/first")
    assert published.status == 0, published.stderr
    assert published.containers() != []
    reading = {**cache, "LAYERLINE_CACHE_MODE": "read"}
    shutil.copytree(first.home, tmp_path / "second")
    own = {**environment(tmp_path / "b", registry), **reading}
    second = Project(home=tmp_path / "second", environ=own)
    call(second, "--help")
    again = call(second, "publish", "--image=small", f"--address={registry}/images/second")
    assert again.status == 0, again.stderr
    assert again.containers() == []
    assert published.stdout.partition("@")[2] == again.stdout.partition("@")[2] != ""
