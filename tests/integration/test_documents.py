"""What a real build says of itself: a bill of materials and a report."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from layerline.settings import process_environ
from tests.images import cache_directory, serve
from tests.integration.test_layers import (
    ONE,
    THREE,
    TWO,
    build,
    call,
    environment,
    lock,
    manifest,
    repository,
)
from tests.integration.wheels import write_wheel

if TYPE_CHECKING:
    from tests.integration.conftest import Project

# As random bytes, which no compression makes smaller.
WEIGHTS = 8_000_000

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Project:
    """A repository whose image has been built, with its evidence."""
    serve(registry, cache_directory(process_environ()))
    environ = environment(tmp_path_factory.mktemp("home"), registry)
    project = repository(tmp_path_factory.mktemp("repository"), environ)
    lock(project)
    assert build(project).status == 0
    kept = call(project, "evidence", "--image=small", "export", "--path=small.json")
    assert kept.status == 0, kept.stderr
    return project


def test_the_bill_of_materials_of_a_built_image_is_valid_and_complete(project: Project) -> None:
    done = call(project, "sbom", "--image=small", "export", "--path=small.cdx.json")
    assert done.status == 0, done.stderr
    text = (project.home / "small.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = {each["name"]: each for each in json.loads(text)["components"]}
    assert {ONE, TWO, THREE, "tini", "python3"} <= parts.keys()
    [locked] = re.findall(rf"^{ONE}==.*\n +--hash=sha256:(\w+)", lock_of(project), re.MULTILINE)
    assert parts[ONE]["hashes"] == [{"alg": "SHA-256", "content": locked}]
    assert "uv" not in parts


def test_the_report_of_a_built_image_stands_by_itself_and_says_what_was_kept(
    project: Project,
) -> None:
    write_wheel(project.home / "wheels", TWO, "2.0", requires=[THREE])
    newer = call(
        *(project, "lock", "--target=cpu", f"--upgrade={TWO}"),
        *("export", "--path=locks/cpu.txt"),
    )
    assert newer.status == 0, newer.stderr
    words = ("report", "--image=small", "--earlier=small.json", "export", "--path=report")
    done = call(project, *words)
    assert done.status == 0, done.stderr
    page = (project.home / "report/report.html").read_text()
    assert re.findall(r"https?://|src=|href=|@import|url\(|<script", page) == []
    found = json.loads((project.home / "report/report.json").read_text())
    layers = {each["name"]: each for each in found["layers"]}
    assert found["image"] == "small"
    assert f"{TWO} 1.0 -> 2.0" in layers["second"]["why"]
    assert all(f"<tr><th>{name}<div" in page for name in layers)
    assert layers["first"]["packages"][0]["name"] == ONE
    assert found["final"]["probes"][0]["result"] == "passed"
    assert found["bytes"] == sum(each["bytes"] for each in found["layers"])
    # As large as the image, and of use to nobody once it was read.
    assert list((project.store / "snapshots").rglob("container.tar")) == []
    # The terminal says why, too: it has the inputs of the last build here.
    assert f"pins: {TWO} 1.0 -> 2.0" in done.stderr
    assert build(project).status == 0
    assert found["digest"] == manifest(project.home / "small.tar")[0]


def test_a_report_keeps_nothing_of_the_size_of_the_image(project: Project, tmp_path: Path) -> None:
    """Its digest is that of an archive, which must not stay, whatever its name would be."""
    (project.home / "src" / "weights.bin").write_bytes(random.Random(17).randbytes(WEIGHTS))
    # What the image itself takes: its files and blobs. In the repository its archive would be read.
    archive = tmp_path / "small.tar"
    assert call(project, "build", "--image=small", "export", f"--path={archive}").status == 0
    home = Path(project.environ["HOME"])
    before = bytes_below(home)
    assert before > 2 * WEIGHTS
    done = call(project, "report", "--image=small", "export", "--path=report")
    assert done.status == 0, done.stderr
    found = json.loads((project.home / "report/report.json").read_text())
    assert found["digest"] == manifest(archive)[0]
    assert found["image_bytes"] > WEIGHTS
    assert bytes_below(home) - before < WEIGHTS // 2


def bytes_below(place: Path) -> int:
    """The bytes of all files, each counted once."""
    found = (path.lstat() for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    return sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())


def lock_of(project: Project) -> str:
    return (project.home / "locks/cpu.txt").read_text()
