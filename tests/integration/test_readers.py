"""Other tools accept what is signed: securesystemslib and in-toto of PyPI, @sigstore of npm."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.errors import CommandFailed
from layerline.pipeline import sbom, spdx
from layerline.pipeline.environment import program
from layerline.settings import process_environ
from tests.published import Image, Repository, new_key
from tests.sigstore_services import IDENTITY, ISSUER, TOKEN, serving_sigstore

pytestmark = [pytest.mark.network, pytest.mark.slow]

READERS = Path(__file__).parents[1] / "readers"
UV = Path(sys.executable).with_name("uv")
LONGEST_SECONDS = 300.0


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the readers of PyPI."""
    place = tmp_path_factory.mktemp("python") / "venv"
    run(UV, "venv", "--quiet", place)
    readers = ("securesystemslib[crypto]", "in-toto-attestation", "sigstore", "spdx-tools")
    run(UV, "pip", "install", "--quiet", f"--python={place}", *readers)
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the readers of npm."""
    if command.find("npm") is None:
        pytest.skip("npm is not installed")
    place = tmp_path_factory.mktemp("node")
    run(
        "npm",
        "install",
        "--silent",
        "--no-fund",
        "@sigstore/verify@4",
        "@sigstore/bundle",
        cwd=place,
    )
    return place


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    done = command.run(argv, cwd=cwd, env=process_environ(), timeout=LONGEST_SECONDS)
    return done.stdout.decode()


@pytest.fixture(scope="module", params=["ed25519", "EC"])
def signed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, registry: str
) -> tuple[Path, Path]:
    """A file of bundles, and the public key."""
    place = tmp_path_factory.mktemp("signed")
    repository = Repository(registry=registry, place=place, name=f"readers/{place.name}")
    private, public = new_key(place, "own", request.param)
    made = repository.attach(repository.push(Image()), key=private)
    bundles = [json.loads(repository.content(each["digest"])) for each in made[1:]]
    path = place / "bundles.json"
    path.write_text(json.dumps(bundles))
    return path, public


def test_securesystemslib_and_in_toto_accept_the_signatures(
    python: Path, signed: tuple[Path, Path]
) -> None:
    assert run(python, READERS / "by_key.py", *signed).split() == ["verified"] * 2


def test_sigstore_of_npm_accepts_the_signatures(node: Path, signed: tuple[Path, Path]) -> None:
    assert run("node", READERS / "by_key.mjs", *signed, cwd=node).split() == ["verified"] * 2


def test_sigstore_of_pypi_accepts_what_an_identity_has_signed(
    python: Path, registry: str, tmp_path: Path
) -> None:
    """With the keys of the services of this machine as its trusted root."""
    repository = Repository(registry=registry, place=tmp_path, name="readers/keyless")
    with serving_sigstore() as services:
        urls = (services.url, services.url)
        made = repository.attach(repository.push(Image()), token=TOKEN, services=urls)
        root = tmp_path / "root.json"
        root.write_text(json.dumps(services.trusted_root()))
    path = tmp_path / "bundles.json"
    bundles = [json.loads(repository.content(each["digest"])) for each in made[1:]]
    path.write_text(json.dumps(bundles))
    said = run(python, READERS / "keyless.py", path, root, IDENTITY, ISSUER)
    assert said.count("verified ") == 2
    with pytest.raises(CommandFailed):
        run(python, READERS / "keyless.py", path, root, "https://evil.example.com", ISSUER)
    payload = base64.b64decode(bundles[0]["dsseEnvelope"]["payload"]).replace(b"small", b"large")
    bundles[0]["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    path.write_text(json.dumps(bundles))
    with pytest.raises(CommandFailed):
        run(python, READERS / "keyless.py", path, root, IDENTITY, ISSUER)


def test_spdx_tools_find_nothing_wrong_in_the_document(python: Path, tmp_path: Path) -> None:
    """The project's own validator, on what is installed here with what its wheels carry."""
    found = [
        json.loads(run(sys.executable, "-c", program(name)))
        for name in ("metadata.py", "licences.py")
    ]
    bill = sbom.document("here", "cpu", found[0], {})
    path = tmp_path / "here.spdx.json"
    path.write_text(json.dumps(spdx.document("here", "1.0", bill, found[1])))
    assert run(python, READERS / "valid_spdx.py", path) == ""
    path.write_text(path.read_text().replace("DESCRIBES", "CONTAINS"))
    assert run(python, READERS / "valid_spdx.py", path) != ""


def test_they_refuse_what_was_changed(
    node: Path, python: Path, signed: tuple[Path, Path], tmp_path: Path
) -> None:
    bundles = json.loads(signed[0].read_text())
    payload = base64.b64decode(bundles[0]["dsseEnvelope"]["payload"]).replace(b"small", b"large")
    bundles[0]["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(bundles))
    for argv in ((python, READERS / "by_key.py"), ("node", READERS / "by_key.mjs")):
        with pytest.raises(CommandFailed):
            run(*argv, changed, signed[1], cwd=node)
