"""`publish` attaches what it says of an image, signed; other tools accept the signatures."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from layerline import command
from layerline.settings import CA_BUNDLE, process_environ
from tests.images import cache_directory, serve
from tests.integration.conftest import Call, Project, succeeded
from tests.integration.test_layers import (
    DEFINITION,
    LONGEST_SECONDS,
    environment,
    lock,
    repository,
)
from tests.integration.test_layers import call as call_function
from tests.published import Repository, new_key
from tests.registry import CERTIFICATE, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

SECRET = "planted-p4ssw0rd"
PRIVATE_HOST = "index.corp.internal"
# What must not be in a statement, in values that go into it.
PLANTED = DEFINITION.replace(
    'env = { LEVEL = "1" }',
    f'env = {{ LEVEL = "1", API_TOKEN = "{SECRET}", INDEX = "https://me:{SECRET}@{PRIVATE_HOST}/x",'
    ' CACHE = "/home/me/cache" }',
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Iterator[Published]:
    """A small image that was published with a key."""
    serve(registry, cache_directory(process_environ()))
    home = tmp_path_factory.mktemp("publishing")
    project = repository(home, environment(tmp_path_factory.mktemp("home"), registry), PLANTED)
    (home / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "1.4.0"\n')
    lock(project)
    private, public = new_key(tmp_path_factory.mktemp("keys"), "own")
    with serving(tmp_path_factory.mktemp("registry")) as address:
        place = Repository(registry=address, place=home, name="team/small")
        done = call_function(
            project,
            *("publish", "--image=small", f"--address={place.address()}", "--compression=gzip"),
            *(f"--sign-key=file:{private}", f"--commit={'1' * 40}"),
            "--repository=https://example.com/team/small",
        )
        digest = succeeded(done).stdout.strip().rpartition("@")[2]
        yield Published(place, project, (private, public), digest)


class Published:
    """An image in a registry, its project, and the key that signed."""

    def __init__(
        self, place: Repository, project: Project, keys: tuple[Path, Path], digest: str
    ) -> None:
        self.place, self.project, self.digest = place, project, digest
        self.private, self.key = keys

    def bundles(self) -> dict[str, dict[str, Any]]:
        """The bundles by the type of their predicate."""
        kind = "dev.sigstore.bundle.predicateType"
        return {
            each["annotations"][kind]: json.loads(self.place.content(each["digest"]))
            for each in self.place.referrers(self.digest)
            if kind in each["annotations"]
        }


def statement(bundle: dict[str, Any]) -> dict[str, Any]:
    """The statement in a bundle."""
    found: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return found


def test_the_provenance_says_what_was_built_from_what(published: Published) -> None:
    provenance = statement(published.bundles()["https://slsa.dev/provenance/v1"])
    assert provenance["subject"][0]["digest"] == {"sha256": published.digest[7:]}
    definition = provenance["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["version"] == "1.4.0"
    parts = {each["name"]: each for each in definition["resolvedDependencies"]}
    assert parts["source"]["uri"] == f"git+https://example.com/team/small@{'1' * 40}"
    locked = (published.project.home / "locks" / "cpu.txt").read_bytes()
    assert parts["lock"]["digest"] == {"sha256": hashlib.sha256(locked).hexdigest()}
    assert len(parts["base"]["digest"]["sha256"]) == 64


def test_no_statement_has_a_secret_a_private_host_or_a_local_path(published: Published) -> None:
    texts = [
        published.place.content(each["digest"])
        for each in published.place.referrers(published.digest)
    ]
    texts += [json.dumps(statement(each)).encode() for each in published.bundles().values()]
    for text in texts:
        for planted in (SECRET, PRIVATE_HOST, "/home/me", str(published.project.home)):
            assert planted.encode() not in text


def test_it_is_verified_by_its_key_and_by_no_other(published: Published, tmp_path: Path) -> None:
    address = published.place.address()
    found = succeeded(published.project.call("verify", address, f"--key={published.key}"))
    assert f"digest: {published.digest}" in found.stdout
    assert "built by: urn:layerline:builder:local" in found.stdout
    _, other = new_key(tmp_path, "other")
    refused = published.project.call("verify", address, f"--key={other}")
    assert refused.status == 8
    assert "signature: the provenance is signed by another key" in refused.stderr


def test_the_login_of_docker_is_enough(published: Published, tmp_path: Path) -> None:
    """As for a push alone, which the engine does; the container gets it as a secret."""
    login = ("me", "geheim")
    (home := tmp_path / "registry").mkdir()
    with serving(home, login=login) as address:
        auth = base64.b64encode(":".join(login).encode()).decode()
        config = {"auths": {address: {"auth": auth}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        argv = ["call", "--wheelhouse=wheels", "publish", "--image=small", "--compression=gzip"]
        environ = {"DOCKER_CONFIG": str(tmp_path)}
        done = published.project.call(
            *argv, f"--address={address}/team/small:1", env=environ, timeout=LONGEST_SECONDS
        )
        digest = succeeded(done).stdout.strip().rpartition("@")[2]
        assert digest == published.digest
        url = f"http://{address}/v2/team/small/manifests/{digest.replace(':', '-')}"
        accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
        listed = httpx.get(url, auth=login, headers=accept).text
    assert len(json.loads(listed)["manifests"]) == 7
    assert not any("geheim" in each or auth in each for each in (done.stdout, done.stderr, listed))


@pytest.fixture
def second_address(machine_root: None) -> Iterator[str]:  # noqa: ARG001
    """One that steps reach: for them the machine's first is their own."""
    address = "198.18.79.1"  # of the range for benchmarks, RFC 2544
    command.run(["ip", "address", "add", f"{address}/32", "dev", "lo"])
    yield address
    command.run(["ip", "address", "delete", f"{address}/32", "dev", "lo"])


def test_a_registry_with_an_authority_of_its_own_is_published_to(
    published: Published, second_address: str, tmp_path: Path
) -> None:
    """The setting is for the push, the program that attaches, and `verify`."""
    (home := tmp_path / "registry").mkdir()
    with serving(home, tls=second_address) as address:
        bundle = tmp_path / "bundle.pem"
        known = Path(process_environ().get("SSL_CERT_FILE") or CA_BUNDLE).read_text()
        bundle.write_text(known + (home / CERTIFICATE).read_text())
        argv = ["call", "--wheelhouse=wheels", "publish", "--image=small", "--compression=gzip"]
        argv += [f"--address={address}/team/small:1", f"--sign-key=file:{published.private}"]
        refused = published.project.call(*argv, timeout=LONGEST_SECONDS)
        assert refused.status != 0
        assert "certificate not trusted" in refused.stderr
        assert "SSL_CERT_FILE" in refused.stderr
        trusting = {"SSL_CERT_FILE": str(bundle)}
        done = published.project.call(*argv, env=trusting, timeout=LONGEST_SECONDS)
        assert succeeded(done).stdout.strip().endswith(f"@{published.digest}")
        argv = ["verify", f"{address}/team/small:1", f"--key={published.key}"]
        found = succeeded(published.project.call(*argv, env=trusting))
        assert f"digest: {published.digest}" in found.stdout


def rebuild(published: Published, store: Path) -> Call:
    argv = ["verify", published.place.address(), f"--key={published.key}", "--rebuild"]
    argv += ["--source=.", f"--store={store}", "--", "--wheelhouse=wheels"]
    return published.project.call(*argv, timeout=LONGEST_SECONDS)


def test_it_is_proven_by_building_it_in_another_store(published: Published, tmp_path: Path) -> None:
    found = succeeded(rebuild(published, tmp_path / "other"))
    lines = [line.split() for line in found.stdout.splitlines() if line.startswith("  layer ")]
    states = [" ".join(line[2:-1]) for line in lines]
    assert states[0] == "base, not rebuilt,"
    assert len(states) > 4
    assert set(states[1:]) == {"same,"}


def test_another_source_is_named_by_its_layer_and_file(published: Published) -> None:
    train = published.project.home / "src" / "train.py"
    before = train.read_text()
    train.write_text("print('another')\n")
    refused = rebuild(published, published.project.store)
    train.write_text(before)
    assert refused.status == 8
    assert " differs: published sha256:" in refused.stderr
    assert "\n    app/src/train.py: content\n" in refused.stderr
