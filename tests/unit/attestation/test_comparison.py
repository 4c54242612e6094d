"""A published image and one that was built again: which layer differs, and which files in it."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.attestation.comparison import BASE, DIFFERS, SAME, Comparison, compare_address
from layerline.settings import Settings
from tests.published import MANIFEST, Image, Repository, digest_of
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BELOW, FILES = {"etc/base": "1"}, {"app/a.py": "1", "app/b.py": "1", "app/c.py": "1"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    place = tmp_path_factory.mktemp("registry")
    with serving(place) as address:
        yield Repository(registry=address, place=place)


def archive(path: Path, image: Image) -> Path:
    """An OCI archive of an image."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes, kind: str) -> dict[str, Any]:
        blobs[f"blobs/{digest_of(data).replace(':', '/')}"] = data
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    manifest = image.manifest(put)
    index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), MANIFEST)]}
    with tarfile.open(path, "w") as file:
        for name, data in {**blobs, "index.json": json.dumps(index).encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def compare(repository: Repository, place: Path, published: Image, rebuilt: Image) -> Comparison:
    settings = Settings.from_environ({"HOME": str(place)})
    digest = repository.push(published)
    again, base = archive(place / "again.tar", rebuilt), place / "base.tar"
    archive(base, Image(layers=(BELOW,), labels={}))
    return compare_address(settings, repository.address(), digest, again, base)


def test_equal_images_are_the_same_and_the_base_is_said_as_not_rebuilt(
    repository: Repository, tmp_path: Path
) -> None:
    image = Image(layers=(BELOW, FILES))
    found = compare(repository, tmp_path, image, image)
    assert [each.state for each in found.layers] == [BASE, SAME]
    assert list(found.problems) == []


def test_the_layer_that_differs_and_the_files_in_it_are_named(
    repository: Repository, tmp_path: Path
) -> None:
    changed = {"app/a.py": "2", "app/b.py": "1", "app/new.py": "1"}
    published, rebuilt = Image(layers=(BELOW, FILES)), Image(layers=(BELOW, changed))
    found = compare(repository, tmp_path, published, rebuilt)
    assert [each.state for each in found.layers] == [BASE, DIFFERS]
    assert found.layers[1].files == (
        "app/a.py: content",
        "app/c.py: only in the published image",
        "app/new.py: only in the rebuilt image",
    )
    [problem] = found.problems
    assert problem.startswith("rebuild: layer 2 differs: published sha256:")


def test_a_base_that_has_moved_is_a_layer_that_differs(
    repository: Repository, tmp_path: Path
) -> None:
    published = Image(layers=({"etc/base": "0"}, FILES))
    found = compare(repository, tmp_path, published, Image(layers=(BELOW, FILES)))
    assert [each.state for each in found.layers] == [DIFFERS, SAME]


def test_another_label_and_a_missing_layer_are_named(
    repository: Repository, tmp_path: Path
) -> None:
    published = Image(layers=(BELOW, FILES), labels={"a": "1"})
    rebuilt = Image(layers=(BELOW,), labels={"a": "2"})
    problems = list(compare(repository, tmp_path, published, rebuilt).problems)
    assert problems[0].endswith("rebuilt none")
    assert problems[1:] == ["rebuild: Labels a of the configuration differs"]
