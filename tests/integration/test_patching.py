"""A base that is pinned stays though its tag moves; a newer one is put under the same layers."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.pipeline.provenance import PROVENANCE
from layerline.settings import process_environ
from tests.images import cache_directory, serve, serve_suite
from tests.integration.conftest import Call, Project, succeeded
from tests.integration.test_layers import (
    DEFINITION,
    LONGEST_SECONDS,
    build,
    environment,
    manifest,
    repository,
)
from tests.published import Repository, new_key
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

BASE = "debian:bookworm-slim"
PINNED = DEFINITION.replace("python:3.11-slim", BASE).replace('["python', '["python3", "python')


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A project, and a registry that has its base and gets its images."""

    project: Project
    registry: str
    place: Path

    @property
    def lock(self) -> Path:
        return self.project.home / "locks/cpu.txt"

    def call(self, *words: str) -> Call:
        return self.project.call("call", "--wheelhouse=wheels", *words, timeout=LONGEST_SECONDS)

    def write_lock(self, *flags: str) -> None:
        succeeded(self.call("lock", "--target=cpu", *flags, "export", "--path=locks/cpu.txt"))

    def layers(self, archive: str) -> list[str]:
        return manifest(self.project.home / archive)[1]

    def blobs(self) -> set[str]:
        """The digests of all blobs in the registry."""
        return {
            f"sha256:{each.parent.name}" for each in self.place.glob("blobs/**/sha256/*/*/data")
        }

    def published(self, tag: str) -> list[str]:
        """The digests of a published image's layers, as the registry has them."""
        image = f"docker://{self.registry}/team/small:{tag}"
        done = command.run(["skopeo", "inspect", "--raw", "--tls-verify=false", image])
        return [each["digest"] for each in json.loads(done.stdout)["layers"]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An image on the base as it was released, built from a lock that pins it."""
    place = tmp_path_factory.mktemp("registry")
    with serving(place) as registry:
        serve_suite(registry, cache_directory(process_environ()), BASE, "bookworm")
        environ = environment(tmp_path_factory.mktemp("home"), registry)
        project = repository(tmp_path_factory.mktemp("patched"), environ, PINNED)
        made = Site(project=project, registry=registry, place=place)
        made.write_lock("--upgrade-base")
        succeeded(build(project))
        (project.home / "small.tar").rename(project.home / "first.tar")
        succeeded(made.call("publish", "--image=small", f"--address={registry}/team/small:1"))
        serve(registry, cache_directory(process_environ()))
        yield made


def test_a_pinned_base_stays_though_its_tag_has_moved(site: Site) -> None:
    succeeded(build(site.project))
    assert manifest(site.project.home / "small.tar") == manifest(site.project.home / "first.tar")
    # What apt would take today is not what the lock has: it comes from the volume, or not at all.
    text = site.lock.read_text()
    site.write_lock()
    assert site.lock.read_text() == text


def test_a_patch_keeps_the_layers_and_is_the_image_that_the_newer_base_gives(site: Site) -> None:
    locked, before = site.lock.read_text(), site.blobs()
    succeeded(site.call("patch", "--image=small", "export", "--path=patched.tar"))
    (site.project.home / "before").mkdir()
    (site.project.home / "before/cpu.txt").write_text(locked)
    site.write_lock("--upgrade-base")
    pinned = re.findall(r"^# base: .*$", locked, re.MULTILINE)
    assert re.findall(r"^# base: .*$", site.lock.read_text(), re.MULTILINE) != pinned
    flags = ("--earlier-locks=before", "publish", "--image=small")
    succeeded(site.call(*flags, f"--address={site.registry}/team/small:2"))
    first, patched = site.layers("first.tar"), site.layers("patched.tar")
    assert len(first) == len(patched)
    # The base, and the system packages on it.
    assert first[:2] != patched[:2]
    assert first[2:] == patched[2:]
    layers = site.published("2")
    assert layers[2:] == site.published("1")[2:]
    assert set(layers) - before <= set(layers[:2])
    # The same as a build: nothing of the image says how it was made.
    succeeded(build(site.project))
    assert manifest(site.project.home / "small.tar") == manifest(site.project.home / "patched.tar")


def test_a_patched_image_is_proven_by_building_it_on_the_newer_base(
    site: Site, tmp_path: Path
) -> None:
    """Its provenance names both bases; a store that never saw the earlier one has the same."""
    private, public = new_key(tmp_path, "own")
    place = Repository(registry=site.registry, place=tmp_path, name="team/small")
    flags = ("--earlier-locks=before", "publish", "--image=small", f"--sign-key=file:{private}")
    done = succeeded(site.call(*flags, f"--address={place.address('3')}"))
    digest = done.stdout.strip().rpartition("@")[2]
    [bundle] = [
        json.loads(place.content(each["digest"]))
        for each in place.referrers(digest)
        if each["annotations"].get("dev.sigstore.bundle.predicateType") == PROVENANCE
    ]
    said = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    parts = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    bases = {each["name"]: each["digest"]["sha256"] for each in parts if "base" in each["name"]}
    pinned = [
        re.findall(r"^# base: \S+ sha256:(.*)$", path.read_text(), re.MULTILINE)[0]
        for path in (site.lock, site.project.home / "before/cpu.txt")
    ]
    assert bases == dict(zip(("base", "base of the layers"), pinned, strict=True))
    argv = ["verify", place.address("3"), f"--key={public}", "--rebuild", "--source=."]
    argv += [f"--store={tmp_path / 'other'}", "--", "--wheelhouse=wheels"]
    found = succeeded(site.project.call(*argv, timeout=LONGEST_SECONDS))
    lines = [line.split() for line in found.stdout.splitlines() if line.startswith("  layer ")]
    states = [" ".join(line[2:-1]) for line in lines]
    assert states[0] == "base, not rebuilt,"
    assert set(states[1:]) == {"same,"}


def test_a_base_with_another_python_is_refused_by_name(site: Site) -> None:
    serve_suite(site.registry, cache_directory(process_environ()), BASE, "trixie")
    done = site.call("patch", "--image=small", "export", "--path=refused.tar")
    assert done.status != 0
    error = "\n".join(done.error)
    assert re.search(r"Python 3\.13; the layers are for 3\.11", error), error
    assert re.search(r"C library glibc 2\.41; the layers are for glibc 2\.36", error), error
    assert not (site.project.home / "refused.tar").exists()
