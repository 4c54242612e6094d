"""The rendered Dockerfiles are ones that Debian's docker daemon builds with BuildKit."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline import dockerfile, lock
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.source import NEVER_SELECTED
from layerline.settings import process_environ
from tests.docker import daemon
from tests.http_server import serving_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.docker import Docker

pytestmark = [pytest.mark.slow, pytest.mark.privileged, pytest.mark.network]

HOME = Path(__file__).parents[2]
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
# Asked inside the container, as there is no network: what the service says of itself once it has
# looked for what it is to serve, for which it has imported all that it needs.
ASK = """\
import json, time, urllib.error, urllib.request
deadline = time.monotonic() + 120
missing = []
while not missing and time.monotonic() < deadline:
    time.sleep(0.5)
    try:
        urllib.request.urlopen("http://127.0.0.1:{port}/ready")
    except urllib.error.HTTPError as answer:
        missing = json.load(answer)["missing"]
    except OSError:
        pass  # not listening yet
print(missing)
"""
NOTHING = "/app/nothing.json"
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
    definition = parse_definition(DEFINITION)
    locks = {"cpu": done.stdout.decode()}
    files = dockerfile.render(definition, locks, ignored=NEVER_SELECTED)
    for path, text in {**files, "probes/probe.py": PROBE}.items():
        place = home / dockerfile.PLACE / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return home


@contextlib.contextmanager
def shown(folder: Path) -> Iterator[str]:
    """A directory of wheels as builds with the host's network can read it: its URL."""
    with serving_files(folder) as address:
        yield f"http://{address}/"


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A `uv.toml` by which PyTorch's +cpu wheel is found: the default index has none."""
    folder = Path(process_environ().get("PIP_FIND_LINKS", ""))
    if not folder.is_absolute() or not any(folder.glob("torch-*+cpu-*.whl")):
        pytest.skip("PIP_FIND_LINKS names no directory with a +cpu wheel of PyTorch")
    settings = tmp_path_factory.mktemp("indexes") / "uv.toml"
    with shown(folder) as url:
        settings.write_text(f"find-links = [{json.dumps(url)}]\n")
        yield settings


def build(
    docker: Docker, repository: Path, name: str = "small", *, secrets: Sequence[str] = ()
) -> str:
    """Build an image; its identity."""
    given = [f"--secret=id={each}" for each in (f"ca,src={CERTIFICATES}", *secrets)]
    words = ("build", "--quiet", "--network=host", *given, f"--file=dockerfiles/{name}.Dockerfile")
    return docker.run(*words, ".", cwd=repository, timeout=LONGEST_SECONDS).decode().strip()


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


@pytest.mark.parametrize(
    ("name", "variable"), [("api", "MODEL_PATH"), ("drift-api", "REFERENCE_PATH")]
)
def test_an_image_of_this_repository_is_built_and_serves(
    docker: Docker, indexes: Path, name: str, variable: str
) -> None:
    built = build(docker, HOME, name, secrets=[f"uv.toml,src={indexes}"])
    [found] = json.loads(docker.run("image", "inspect", built))
    (port,) = parse_definition((HOME / "layerline.toml").read_text()).image(name).ports
    assert list(found["Config"]["ExposedPorts"]) == [f"{port}/tcp"]
    words = ("--detach", "--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL")
    running = docker.run("run", *words, f"--env={variable}={NOTHING}", built).decode().strip()
    missing = docker.run("exec", running, "python", "-c", ASK.format(port=port), timeout=180.0)
    assert variable in missing.decode()
    assert "o such file" in missing.decode()
    docker.run("stop", "--time=10", running)
    [ended] = json.loads(docker.run("inspect", running))
    assert ended["State"]["ExitCode"] == 0
