"""A store, tars made member by member, and a directory whose surroundings must not change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import pytest

from layerline.engine.image import tarwriter
from layerline.engine.image.tarwriter import Member
from layerline.engine.image.unpack import DEFAULT_LIMITS, Limits, UnpackResult, unpack
from layerline.engine.store.store import Store


class Fields(TypedDict, total=False):
    """What else a member may say."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    target: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes]


SECRET = b"the host's secret"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.open(tmp_path / "store") as store:
        yield store


def member(name: str | bytes, data: bytes = b"", **fields: Unpack[Fields]) -> bytes:
    """A member with its data; `name` may be anything."""
    raw = name if isinstance(name, bytes) else name.encode()
    made = replace(Member(name=raw, size=len(data)), **fields)
    return tarwriter.header(made) + data + tarwriter.padding(len(data))


def folder(name: str, **fields: Unpack[Fields]) -> bytes:
    """A directory."""
    fields["kind"] = tarwriter.DIRECTORY
    fields.setdefault("mode", 0o755)
    return member(name, **fields)


def symlink(name: str, to: str, **fields: Unpack[Fields]) -> bytes:
    """A symbolic link."""
    fields["kind"], fields["target"] = tarwriter.SYMLINK, to.encode()
    return member(name, **fields)


def hardlink(name: str, to: str, **fields: Unpack[Fields]) -> bytes:
    """A hard link."""
    fields["kind"], fields["target"] = tarwriter.HARDLINK, to.encode()
    return member(name, **fields)


@dataclass(frozen=True)
class Arena:
    """A target with neighbours that hostile layers would like to reach."""

    target: Path
    victim: Path
    below: Path

    def unpack(self, *pieces: bytes, limits: Limits = DEFAULT_LIMITS) -> UnpackResult:
        """Unpack a tar of these pieces, in odd chunks."""
        data = b"".join((*pieces, tarwriter.END))
        chunks = (data[at : at + 700] for at in range(0, len(data), 700))
        return unpack(chunks, self.target, limits=limits)

    def state(self) -> list[tuple[object, ...]]:
        """Everything that must stay as it is: names, contents, modes, owners, links, times."""
        found: list[tuple[object, ...]] = []
        for path in sorted([self.below, *self.below.rglob("*")]):
            if path == self.target or self.target in path.parents:
                continue
            status = path.lstat()
            body = path.read_bytes() if path.is_file() else b""
            links = 0 if path in self.target.parents else status.st_nlink
            times = (
                (0, 0) if path == self.target.parent else (status.st_mtime_ns, status.st_ctime_ns)
            )
            found.append((path, body, status.st_mode, status.st_uid, links, *times))
        return found

    def secrets(self) -> list[Path]:
        """Files in the target that show the secret."""
        return [
            path
            for path in self.target.rglob("*")
            if path.is_file() and not path.is_symlink() and SECRET in path.read_bytes()
        ]


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """The target three levels below the victim; checked for changes around it afterwards."""
    below = tmp_path / "around"
    victim = below / "victim"
    target = below / "a" / "b" / "target"
    for place in (victim, target, below / "a" / "b" / "sibling"):
        place.mkdir(parents=True)
    (victim / "secret").write_bytes(SECRET)
    (victim / "secret").chmod(0o600)
    (below / "a" / "b" / "sibling" / "file").write_text("untouched")
    made = Arena(target=target, victim=victim, below=below)
    before = made.state()
    yield made
    assert made.state() == before
    assert made.secrets() == []


MakeTree = Callable[[dict[str, str]], Path]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Makes a directory from a mapping of paths to contents; a value `-> x` is a link to x."""

    def make(files: dict[str, str]) -> Path:
        root = tmp_path / f"tree-{len(list(tmp_path.iterdir()))}"
        root.mkdir()
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                path.symlink_to(text.removeprefix("-> "))
            else:
                path.write_text(text)
            os.utime(path, (1000, 1000), follow_symlinks=False)
        for path in [root, *(p for p in root.rglob("*") if p.is_dir() and not p.is_symlink())]:
            os.utime(path, (1000, 1000))
        return root

    return make
