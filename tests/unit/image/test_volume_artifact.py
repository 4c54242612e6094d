"""Cache volumes in a registry: what travels, what arrives, and what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.image import manifests, volume_artifact
from layerline.engine.image.assemble import AssembledImage
from layerline.engine.image.manifests import Manifest
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.volume_artifact import ARTIFACT, CHUNK, CONFIG, pull_volume, push_volume
from layerline.engine.image.volume_chunks import LARGEST_CHUNK, chunks_of
from layerline.engine.store.digest import digest_of
from layerline.engine.store.store import Store
from layerline.engine.store.usage import VolumeUse, list_volumes
from layerline.engine.store.volume_archive import end_note, head_note
from layerline.errors import ArchiveInvalid, ImageNotFound, StoreError
from layerline.settings import Settings
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDENTITY = "uv-core-cpu-v2-" + "0" * 64
NAME = "uv-core-cpu-v2"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path, home=tmp_path, config=tmp_path / "config.toml")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's registry."""
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def place(registry: str, tmp_path: Path) -> str:
    """A repository of the test's own."""
    return f"{registry}/team/{digest_of(str(tmp_path))}"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "elsewhere") as store:
        yield store


def fill(store: Store) -> Path:
    """A volume as uv's: archives, small files, a link between files and one to another."""
    data = store.volumes.volume(IDENTITY)
    for number in range(300):
        path = data / f"archive/{number % 7}/file{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(3000))
    (data / "wheels").mkdir()
    (data / "wheels/large.whl").write_bytes(os.urandom(LARGEST_CHUNK + 5000))
    (data / "wheels/same.whl").hardlink_to(data / "wheels/large.whl")
    (data / "archive/link").symlink_to("0/file0.py")
    return data


def volume_of(store: Store) -> VolumeUse:
    (found,) = list_volumes(store.root)
    return found


def files(root: Path) -> dict[str, tuple[int, int, bytes | str]]:
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = (
            str(path.readlink())
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else b""
        )
        time = 0 if path.is_symlink() else int(status.st_mtime)
        found[str(path.relative_to(root))] = (status.st_mode, time, content)
    return found


def test_a_volume_arrives_and_later_only_what_is_new_travels(
    store: Store, elsewhere: Store, place: str, settings: Settings
) -> None:
    data = fill(store)
    first = push_volume(store, volume_of(store), place, settings)
    assert first.new == first.chunks
    assert pull_volume(elsewhere, NAME, place, settings).new == first.chunks
    there = elsewhere.volumes.volume(IDENTITY)
    assert files(there) == files(data)
    same = [(there / f"wheels/{name}.whl").stat().st_ino for name in ("large", "same")]
    assert len(set(same)) == 1

    assert push_volume(store, volume_of(store), place, settings).new == 0
    shutil.move(data / "wheels/large.whl", data / "archive/0/moved.whl")
    (data / "wheels/new.whl").write_bytes(os.urandom(2 << 20))
    sent = push_volume(store, volume_of(store), place, settings)
    assert (2 << 20) <= sent.bytes < (4 << 20)
    got = pull_volume(elsewhere, NAME, place, settings, replace=True)
    assert (got.new, got.bytes) == (sent.new, sent.bytes)
    assert files(elsewhere.volumes.volume(IDENTITY)) == files(data)
    # Nothing of it stays among the blobs.
    assert list((elsewhere.root / "blobs").iterdir()) == []


def test_an_existing_volume_and_a_missing_one_are_named(
    store: Store, place: str, settings: Settings
) -> None:
    (store.volumes.volume(IDENTITY) / "f").write_text("mine")
    push_volume(store, volume_of(store), place, settings)
    with pytest.raises(StoreError, match="already exists: use --replace"):
        pull_volume(store, NAME, place, settings)
    with pytest.raises(ImageNotFound):
        pull_volume(store, "other", place, settings)


def test_a_new_small_file_changes_one_chunk(store: Store) -> None:
    data = fill(store)
    before = set(chunks_of(volume_of(store)))
    (data / "archive/3/file3a.py").write_bytes(b"new")
    os.utime(data / "archive/3", (5, 5))
    changed = set(chunks_of(volume_of(store))) - before
    assert len(changed) <= 4  # the file, its directory, the end; perhaps the next collection
    assert sum(map(len, changed)) < sum(map(len, before)) / 4


def tar(*members: tarfile.TarInfo) -> bytes:
    """The archive of a volume with such entries, each of no bytes."""
    out = io.BytesIO()
    out.write(head_note(IDENTITY))
    for member in members:
        out.write(member.tobuf(tarfile.PAX_FORMAT))
    out.write(end_note(len(members)))
    return out.getvalue()


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(found, key, value)
    return found


ROOT = entry("data", type=tarfile.DIRTYPE, mode=0o755)
GOOD = tar(ROOT)


def push_artifact(place: str, settings: Settings, chunk: bytes, **changed: object) -> None:
    """Push an artifact of one chunk, of which some parts are wrong."""
    wrong = changed.get("layer", {})
    assert isinstance(wrong, dict)
    packed = volume_artifact._pack(chunk)
    layer = manifests.describe(packed, CHUNK)
    document: dict[str, object] = {
        "format": 1,
        "identity": IDENTITY,
        "chunks": [0],
        "sizes": [len(chunk)],
    }
    document |= {key: value for key, value in changed.items() if key in document}
    body = json.dumps(document).encode()
    config = manifests.describe(body, CONFIG)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": changed.get("artifact", ARTIFACT),
            "config": config.document(),
            "layers": [{**layer.document(), **wrong}],
        }
    ).encode()
    root = manifests.describe(manifest, _MANIFEST)
    found = Reference.parse(f"{place}:volume-{NAME}")
    image = AssembledImage(
        root=root,
        manifests=(Manifest(config=config, layers=()),),
        documents=((layer, packed), (config, body), (root, manifest)),
    )
    with Registries.open(settings) as registries, Store.open(settings.store / "pushing") as store:
        registries.registry(found).push(store, image)


@pytest.mark.parametrize(
    ("chunk", "changed", "reason"),
    [
        (GOOD, {"artifact": "application/vnd.example"}, "it has another type"),
        (GOOD, {"format": 2}, "unknown format 2"),
        (GOOD, {"identity": "other-" + "0" * 64}, "'uv-core-cpu-v2' was asked for"),
        (GOOD, {"chunks": [1]}, "its list of chunks is invalid"),
        (GOOD, {"chunks": [True]}, "its list of chunks is invalid"),
        (GOOD, {"sizes": [len(GOOD) + 1]}, "a chunk does not have its"),
        (GOOD, {"sizes": [len(GOOD) - 1]}, "a chunk does not have its"),
        (GOOD, {"chunks": [0] * 500, "sizes": [LARGEST_CHUNK] * 500}, "bytes claim to be"),
        (GOOD, {"layer": {"mediaType": "text/plain"}}, "as application/vnd.layerline.volume.chunk"),
        (GOOD, {"layer": {"size": 1 << 30}}, "as application/vnd.layerline.volume.chunk"),
        (tar(ROOT, entry("data/../../escaped")), {}, "invalid entry"),
        (tar(ROOT, entry("/etc/passwd")), {}, "invalid entry"),
        (
            tar(ROOT, entry("data/l", type=tarfile.SYMTYPE, linkname="/tmp"), entry("data/l/x")),
            {},
            "the parent of data/l/x is not a directory",
        ),
        (tar(ROOT, entry("data/d", type=tarfile.CHRTYPE)), {}, "is not a file, directory or link"),
        (GOOD[:-2048], {}, "end.json is missing"),
    ],
)
def test_hostile_artifacts_are_refused(
    store: Store,
    place: str,
    settings: Settings,
    chunk: bytes,
    changed: dict[str, Any],
    reason: str,
) -> None:
    push_artifact(place, settings, chunk, **changed)
    with pytest.raises(ArchiveInvalid, match=reason):
        pull_volume(store, NAME, place, settings)
    assert list_volumes(store.root) == []
    assert list((store.root / "blobs").iterdir()) == []


def test_what_the_hostile_ones_are_made_from_is_taken(
    store: Store, place: str, settings: Settings
) -> None:
    push_artifact(place, settings, GOOD)
    assert pull_volume(store, NAME, place, settings).chunks == 1
