"""The reference workload in real images: two of them with every run, the others with --slow."""

from __future__ import annotations

import json
import platform
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ci.modules import junit
from layerline.pipeline import changes
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.partition import partition
from layerline.settings import process_environ
from tests.integration.conftest import Project, succeeded

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HOME = Path(__file__).parents[2]
CPU_TORCH = "torch-*+cpu-*.whl"
LONGEST_SECONDS = 3600.0


@pytest.fixture(scope="module")
def repository(environ: dict[str, str]) -> Project:
    """The checkout, over the store that the tests share."""
    return Project(home=HOME, environ=environ)


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    """Where PyTorch without CUDA comes from; the default index does not have it."""
    place = process_environ().get("PIP_FIND_LINKS", "")
    if not place or not any(Path(place).glob(CPU_TORCH)):
        pytest.skip(f"PIP_FIND_LINKS names no directory with {CPU_TORCH}")
    return ("call", f"--wheelhouse={place}")


def test_the_api_serves_what_was_trained(
    repository: Project, flags: tuple[str, ...], tmp_path: Path
) -> None:
    report = tmp_path / "junit.xml"
    words = (*flags, "test-api", "--junit", f"--output={report}")
    succeeded(repository.call(*words, timeout=LONGEST_SECONDS))
    found = {case.name: case.outcome for case in junit.cases(report.read_text())}
    assert set(found.values()) == {"passed"}, found
    again = succeeded(repository.call(*flags, "test-api", timeout=LONGEST_SECONDS))
    assert "failed" not in again.stdout
    assert again.containers() == []


def test_drift_is_found_without_torch(repository: Project) -> None:
    done = succeeded(repository.call("call", "test-drift-api", timeout=LONGEST_SECONDS))
    assert "passed test_shifted_data_are_drift" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other wheels, other layers")
def test_the_layers_of_groups_are_those_of_images_without_bytecode(
    repository: Project, tmp_path: Path
) -> None:
    """Recorded at f97b83e, which had none; where the lock of a layer changed, it counts no more."""
    archive = tmp_path / "drift-api.tar"
    words = ("build", "--image=drift-api", "export", f"--path={archive}")
    succeeded(repository.call("call", *words, timeout=LONGEST_SECONDS))
    built = set(diff_ids(archive))
    recorded = json.loads((Path(__file__).parent / "drift_api_layers.json").read_text())
    definition = parse_definition((HOME / "layerline.toml").read_text())
    parts = partition((HOME / "locks/cpu.txt").read_text(), definition, "cpu")
    same = [
        layer.name
        for layer in parts.of(definition.image("drift-api").groups)
        if changes.digest(layer.requirements + parts.installer)
        == recorded.get(layer.name, {}).get("lock")
    ]
    assert same, "the lock changed: record the layers of a build in drift_api_layers.json"
    assert [name for name in same if recorded[name]["layer"] not in built] == []


def diff_ids(archive: Path) -> list[str]:
    """The digests of an image's layers as tars, which no compression changes."""
    with tarfile.open(archive) as tar:

        def document(name: str) -> Any:  # noqa: ANN401 - what the file has
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        def blob(digest: str) -> Any:  # noqa: ANN401 - what the file has
            return document(f"blobs/sha256/{digest.removeprefix('sha256:')}")

        manifest = blob(document("index.json")["manifests"][0]["digest"])
        found: list[str] = blob(manifest["config"]["digest"])["rootfs"]["diff_ids"]
        return found


@pytest.mark.slow
@pytest.mark.parametrize("function", ["test-train", "test-api-cloudrun", "lint"])
def test_the_other_images_without_cuda_work(
    repository: Project, flags: tuple[str, ...], function: str
) -> None:
    succeeded(repository.call(*flags, function, timeout=LONGEST_SECONDS))


@pytest.mark.slow
def test_the_images_with_cuda_work(cuda: Project) -> None:
    succeeded(cuda.call("call", "test-train-cuda", timeout=LONGEST_SECONDS))
    succeeded(cuda.call("call", "test-dev", timeout=LONGEST_SECONDS))
