"""Real images of the pipeline: one group in every run, the whole CUDA image with --slow."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from layerline import command
from tests.integration.conftest import Project, peak_megabytes, succeeded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.privileged, pytest.mark.network]

DEFINITION = """\
[targets.cpu]
[groups.core]
requirements = ["numpy", "pillow"]
probes = ["probe.py"]
[groups.tools]
requirements = ["pyyaml"]
[images.small]
target = "cpu"
groups = ["core", "tools"]
source = ["train.py"]
"""
PROBE = """\
import numpy
assert numpy.arange(4).reshape(2, 2).sum() == 6
print("numpy computes")
"""
ASKED = ("call", "build", "--image=small")
LONGEST_SECONDS = 600.0
CUDA_MEGABYTES = 200


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Project:
    """A repository with only a small image's definition, locked by the shipped pipeline."""
    home = tmp_path_factory.mktemp("small") / "repository"
    home.mkdir()
    (home / "layerline.toml").write_text(DEFINITION)
    (home / "probe.py").write_text(PROBE)
    (home / "train.py").write_text("print('training')\n")
    command.run(["git", "init", "--quiet", home])
    project = Project(home=home, environ=environ)
    lock = ("call", "lock", "--target=cpu", "export", "--path=locks/cpu.txt")
    succeeded(project.call(*lock, timeout=LONGEST_SECONDS))
    return project


def test_an_image_is_built_and_probed_and_others_read_it(small: Project, tmp_path: Path) -> None:
    archive = tmp_path / "small.tar"
    export = ("export", f"--path={archive}")
    first = succeeded(small.call(*ASKED, *export, timeout=LONGEST_SECONDS))
    assert "numpy computes" in first.stderr
    command.run(["skopeo", "inspect", f"oci-archive:{archive}"])
    command.run(["skopeo", "copy", f"oci-archive:{archive}", f"oci:{tmp_path}/layout:small"])
    command.run(["umoci", "unpack", "--image", f"{tmp_path}/layout:small", tmp_path / "bundle"])
    assert (tmp_path / "bundle/rootfs/app/train.py").is_file()
    words = ("with-exec", "--args=python,-c,import numpy; print(numpy.arange(3).sum())", "stdout")
    assert succeeded(small.call(*ASKED, *words)).stdout == "3\n"
    before = archive.stat()
    again = succeeded(small.call(*ASKED, *export))
    assert again.containers() == []
    assert (archive.stat().st_ino, archive.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_an_audit_names_an_old_wheel_and_an_old_package(small: Project) -> None:
    affected = {"package": {"ecosystem": "PyPI", "name": "PyYAML"}}
    later = [{"introduced": "0"}, {"fixed": "999"}]
    ranges = [{"type": "ECOSYSTEM", "events": later}]
    record = {"id": "CVE-2000-0001", "affected": [{**affected, "ranges": ranges}]}
    known = small.home / "known"
    known.mkdir()
    (known / "CVE-2000-0001.json").write_text(json.dumps(record))
    status = {"status": "resolved", "fixed_version": "999:1", "urgency": "high"}
    planted = {"dpkg": {"CVE-2000-0002": {"releases": {"bookworm": status}}}}
    (small.home / "tracker.json").write_text(json.dumps(planted))
    argv = ("call", "audit", "--image=small", "--osv=known", "--tracker=tracker.json")
    found = small.call(*argv, timeout=LONGEST_SECONDS)
    assert found.status == 1
    text = "\n".join(found.error)
    assert "small: 2 known vulnerabilities, 2 refused (high or worse, with a fixed version)" in text
    assert re.search(r"CVE-2000-0001  pyyaml 6\S+  fixed in 999  locks/cpu.txt:\d+\n", text)
    assert re.search(r"CVE-2000-0002  dpkg 1\S+  fixed in 999:1  \S+:\d+\n", text)


def test_another_version_in_one_group_leaves_the_others_alone(small: Project) -> None:
    succeeded(small.call(*ASKED, "sync", timeout=LONGEST_SECONDS))
    definition = small.home / "layerline.toml"
    definition.write_text(DEFINITION.replace('"pyyaml"', '"pyyaml<6.0.3"'))
    lock = ("call", "lock", "--target=cpu", "export", "--path=locks/cpu.txt")
    succeeded(small.call(*lock, timeout=LONGEST_SECONDS))
    again = succeeded(small.call(*ASKED, "sync", timeout=LONGEST_SECONDS))
    assert "pyyaml" in again.stderr
    assert "numpy==" not in again.stderr


@pytest.mark.slow
def test_the_cuda_image_is_built_in_little_memory_and_not_built_again(
    cuda: Project, tmp_path: Path
) -> None:
    words = ("call", "build-train-cuda", "export", f"--path={tmp_path}/train-cuda.tar")
    process = cuda.start(*words, log=tmp_path / "log")
    most = peak_megabytes(process)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert most < CUDA_MEGABYTES
    command.run(["skopeo", "inspect", f"oci-archive:{tmp_path}/train-cuda.tar"])
    again = succeeded(cuda.call(*words))
    assert again.containers() == []
    program = "import torch, jax, cv2; print(torch.ones(2).sum().item())"
    asked = ("call", "build-train-cuda", "with-env-variable", "--name=JAX_PLATFORMS", "--value=cpu")
    found = cuda.call(*asked, "with-exec", f'--args=python,-c,"{program}"', "stdout")
    assert succeeded(found).stdout == "2.0\n"
