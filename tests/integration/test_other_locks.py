"""Locks that other tools wrote, from the file to a program that runs in the image.

The locks are written by uv itself, from an index and an address of this machine.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.http_server import serving_files
from tests.images import cache_directory, serve
from tests.integration.conftest import Project, succeeded
from tests.integration.test_layers import LONGEST_SECONDS, ONE, environment, manifest
from tests.integration.test_projects import MAIN, write_package
from tests.integration.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

SDIST = "layerline-test-sdist"
DEFINITION = """\
[base]
image = "python:3.11-slim"
packages = ["python3-venv", "tini"]
[targets.cpu]
lock = "{lock}"
[groups.core]
requirements = {requirements}
[images.app]
target = "cpu"
groups = ["core"]
source = ["{lock}"]
"""
# Of uv's own project, which is not a package: its dependencies alone are locked.
PYPROJECT = """\
[project]
name = "app"
version = "0"
requires-python = ">=3.11"
dependencies = ["greet", "{one}", "byurl @ http://{host}/files/byurl-1.0.tar.gz"]
[tool.uv]
package = false
[tool.uv.sources]
greet = {{ path = "libs/greet" }}
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, registry: str) -> dict[str, str]:
    """A home and a store of this module's own, and a registry that has the bases."""
    serve(registry, cache_directory(process_environ()))
    return environment(tmp_path_factory.mktemp("home"), registry)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An index (PEP 503) with a wheel and a source, and an archive that no page names."""
    place = tmp_path_factory.mktemp("host")
    files = place / "files"
    write_wheel(files, ONE, "1.0")
    for name in ("layerline_test_sdist", "byurl"):
        write_package(place / "sources" / f"{name}-1.0", name)
        archive = files / f"{name}-1.0.tar.gz"
        command.run(["tar", "-czf", archive, "-C", place / "sources", f"{name}-1.0"])
    for name, pattern in ((ONE, "*.whl"), (SDIST, "layerline_test_sdist*")):
        [file] = files.glob(pattern)
        page = place / "simple" / name / "index.html"
        page.parent.mkdir(parents=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        page.write_text(f'<a href="/files/{file.name}#sha256={digest}">{file.name}</a>\n')
    with serving_files(place) as address:
        yield address


def run_uv(home: Path, *argv: str, stdin: bytes | None = None) -> None:
    """Run uv with a cache of its own, and with nothing that this machine has set for it."""
    settings = {k: v for k, v in process_environ().items() if not k.startswith(("UV_", "PIP_"))}
    own = {**settings, "UV_CACHE_DIR": str(home.parent / "uv"), "UV_NO_CONFIG": "1"}
    uv = Path(sys.executable).with_name("uv")
    command.run([uv, *argv, f"--python={sys.executable}"], cwd=home, env=own, stdin=stdin)


def repository(place: Path, environ: dict[str, str], lock: str, *requirements: str) -> Project:
    """A repository in which another tool's lock can be written."""
    home = place / "home"
    (home / "locks").mkdir(parents=True)
    text = DEFINITION.format(lock=lock, requirements=json.dumps(requirements))
    (home / "layerline.toml").write_text(text)
    command.run(["git", "-C", str(home), "init", "--quiet"])
    return Project(home=home, environ=environ)


def lock_and_build(project: Project, host: str) -> tuple[str, str]:
    """The own part of the lock, and what the build said; the image is app.tar."""
    words = (f"--extra-index-url=http://{host}/simple",)
    locking = ("lock", "--target=cpu", "export", "--path=locks/cpu.txt")
    building = ("build", "--image=app", "export", "--path=app.tar")
    succeeded(project.call("call", *words, *locking, timeout=LONGEST_SECONDS))
    done = succeeded(project.call("call", *words, *building, timeout=LONGEST_SECONDS))
    return (project.home / "locks/cpu.txt").read_text(), done.stderr


def run(project: Project, code: str) -> str:
    """What a program prints in the exported image."""
    chain = ("--no-mod", "call", "container", "import", "--source=app.tar")
    words = ("with-exec", "--args", f'python,-c,"{code}"', "stdout")
    return succeeded(project.call(*chain, *words, timeout=LONGEST_SECONDS)).stdout


def test_a_directory_and_an_archive_of_a_uv_lock_run_and_the_wheel_stays_the_kept_one(
    tmp_path: Path, environ: dict[str, str], host: str
) -> None:
    project = repository(tmp_path, environ, "uv.lock", "greet", "byurl", ONE)
    greet = project.home / "libs" / "greet"
    write_package(greet, "greet")
    (greet / "module.py").write_text(MAIN)  # the same in each build
    with (greet / "pyproject.toml").open("a") as file:
        file.write('[project]\nname = "greet"\nversion = "1.0"\n')
    (project.home / "pyproject.toml").write_text(PYPROJECT.format(one=ONE, host=host))
    run_uv(project.home, "lock", f"--default-index=http://{host}/simple")
    theirs = (project.home / "uv.lock").read_text()
    assert 'source = { directory = "libs/greet" }' in theirs
    assert f'source = {{ url = "http://{host}/files/byurl-1.0.tar.gz" }}' in theirs
    text, _ = lock_and_build(project, host)
    assert "byurl @ " not in text  # the pin is in uv.lock alone
    recorded = r"^# wheel: byurl sha256:(\w{64}) from sha256:\w{64}$"
    [wheel] = re.findall(recorded, text, re.MULTILINE)
    code = (
        "import greet, byurl, layerline_test_one as one;"
        "greet.main(); byurl.main(); print(one.version)"
    )
    first = run(project, code)
    [of_greet, of_byurl, version] = first.splitlines()
    site = "/opt/venv/lib/python3.11/site-packages"
    assert of_greet == f"hello from {site}/greet.py ENETUNREACH2"
    assert of_byurl.startswith(f"hello from {site}/byurl.py ENETUNREACH2 ")
    assert version == "1.0"
    before = manifest(project.home / "app.tar")[1]
    # With another package where it is built it is built again, and differs: what the lock has is
    # taken from where it was kept.
    toml = project.home / "layerline.toml"
    more = 'packages = ["python3-venv", "tini"]'
    toml.write_text(toml.read_text().replace(more, f'{more}\nbuild_packages = ["jq"]'))
    again, said = lock_and_build(project, host)
    assert re.findall(recorded, again, re.MULTILINE) == [wheel]
    [built] = [line for line in said.splitlines() if '{"wheel": "byurl==1.0"' in line]
    assert wheel not in built
    taken = [line for line in said.splitlines() if f" take /mnt/sources {wheel} " in line]
    assert [line for line in taken if " DONE [" in line]
    assert manifest(project.home / "app.tar")[1] == before
    assert run(project, code).splitlines()[1] == of_byurl


def test_a_source_of_hashed_requirements_is_found_built_and_imported(
    tmp_path: Path, environ: dict[str, str], host: str
) -> None:
    project = repository(tmp_path, environ, "requirements.txt", SDIST, ONE)
    index = f"--index-url=http://{host}/simple"
    compile_ = ("pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", index)
    wanted = f"{SDIST}\n{ONE}\n".encode()
    run_uv(project.home, *compile_, "--output-file=requirements.txt", "-", stdin=wanted)
    theirs = (project.home / "requirements.txt").read_text()
    assert theirs.count("--hash=sha256:") == 2
    text, _ = lock_and_build(project, host)
    assert f"# from source: {SDIST}\n" in text
    code = "import layerline_test_sdist as s, layerline_test_one as o; s.main(); print(o.version)"
    [said, version] = run(project, code).splitlines()
    site = "/opt/venv/lib/python3.11/site-packages"
    assert said.startswith(f"hello from {site}/layerline_test_sdist.py ENETUNREACH2 ")
    assert version == "1.0"
