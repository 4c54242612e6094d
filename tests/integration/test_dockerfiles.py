"""The rendered Dockerfiles are ones that Debian's docker daemon builds with BuildKit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ci.main import NOT_SOURCE
from ci.modules import dockerfile, lock
from ci.modules.definition import read
from layerline import command
from layerline.settings import process_environ
from tests.docker import daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docker import Docker

pytestmark = [pytest.mark.slow, pytest.mark.privileged, pytest.mark.network]

DEFINITION = """\
[targets.cpu]
[groups.core]
requirements = ["numpy"]
probes = ["probe.py"]
[groups.tools]
requirements = ["pyyaml"]
[images.small]
target = "cpu"
groups = ["core", "tools"]
source = ["train.py"]
"""
PROBE = "import numpy\nassert numpy.arange(4).reshape(2, 2).sum() == 6\n"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LONGEST_SECONDS = 900.0
COMPILE = ("pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--python-version=3.11")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, bases: str) -> Iterator[Docker]:
    """Debian's daemon with BuildKit, which finds the base images."""
    mirror = f"--registry-mirror=http://{bases}"
    with daemon(tmp_path_factory.mktemp("docker"), mirror, buildkit=True) as running:
        yield running


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository, locked, with its Dockerfiles."""
    home = tmp_path_factory.mktemp("repository")
    (home / "locks").mkdir()
    (home / "train.py").write_text("print('training')\n")
    (home / "notes.txt").write_text("no source of the image\n")
    argv: list[str | Path] = [Path(sys.executable).with_name("uv"), *COMPILE, "-"]
    done = command.run(argv, env=process_environ(), stdin=b"numpy\npyyaml\nuv\n")
    (home / lock.path("cpu")).write_bytes(done.stdout)
    definition = read(DEFINITION)
    locks = {"cpu": done.stdout.decode()}
    files = dockerfile.rendered(definition, locks, ignored=NOT_SOURCE)
    for path, text in {**files, "probes/probe.py": PROBE}.items():
        place = home / dockerfile.PLACE / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return home


def build(docker: Docker, repository: Path) -> str:
    """Build the image; its identity."""
    words = ("build", "--quiet", "--network=host", f"--secret=id=ca,src={CERTIFICATES}")
    file = "--file=dockerfiles/small.Dockerfile"
    return docker.run(*words, file, ".", cwd=repository, timeout=LONGEST_SECONDS).decode().strip()


def test_an_image_is_built_probed_and_configured(docker: Docker, repository: Path) -> None:
    built = build(docker, repository)
    [found] = json.loads(docker.run("image", "inspect", built))
    assert found["Config"]["Entrypoint"] == ["tini", "--"]
    assert found["Config"]["User"] == "app"
    assert found["Config"]["Labels"]["layerline.target"] == "cpu"
    program = "import numpy, os; print(numpy.arange(3).sum(), sorted(os.listdir()))"
    words = ("run", "--rm", "--network=none", built, "python", "-c", program)
    assert docker.run(*words).decode() == "3 ['train.py']\n"
    assert build(docker, repository) == built


def test_a_probe_that_fails_stops_the_build(docker: Docker, repository: Path) -> None:
    probe = repository / "dockerfiles/probes/probe.py"
    probe.write_text("raise SystemExit('the probe of the test says no')\n")
    with pytest.raises(Exception, match="the probe of the test says no"):
        build(docker, repository)
