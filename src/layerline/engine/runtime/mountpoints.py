"""Mount points that an image lacks, kept out of the written layer.

The stubs are a layer of their own, between the image's layers and the one that is written. Its
directories look like those of the image, so nothing is copied up and nothing has to be removed.
Invariant: after a run the written layer holds only what the program did.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.runtime.confined_root import join
from layerline.engine.store.epoch import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from layerline.engine.runtime.confined_root import ConfinedRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub:
    """A path that must exist; `data` is None for a directory. `replace` puts it over a file."""

    path: str
    data: bytes | None = None
    link: str | None = None
    replace: bool = False


def write_stubs(stubs: Iterable[Stub], inside: ConfinedRoot, layer: Path) -> bool:
    """Write those that the tree lacks into the empty directory `layer`; False if none."""
    directories: dict[str, os.stat_result | None] = {}
    written = False
    for stub in stubs:
        target = inside.resolve(stub.path)
        if inside.stat(target) is not None and not stub.replace:
            continue
        written = True
        parent = target if _is_directory(stub) else target.rpartition("/")[0]
        _make_parents(parent, inside, layer, directories)
        place = layer / target.lstrip("/")
        if place.is_symlink() or place.is_file():
            continue  # a link of the tree leads to another stub
        if stub.link is not None:
            place.symlink_to(stub.link)
        elif stub.data is not None:
            place.write_bytes(stub.data)
            place.chmod(0o644)
            os.utime(place, (EPOCH, EPOCH))
    for path in sorted(directories, reverse=True):
        _copy_metadata(layer / path.lstrip("/"), path, directories[path], inside)
    return written


def _is_directory(stub: Stub) -> bool:
    return stub.data is None and stub.link is None


def _make_parents(
    path: str, inside: ConfinedRoot, layer: Path, directories: dict[str, os.stat_result | None]
) -> None:
    here = "/"
    for name in ("", *filter(None, path.split("/"))):
        here = join(here, name)
        if here not in directories:
            directories[here] = inside.stat(here)
            (layer / here.lstrip("/")).mkdir(exist_ok=True)


def _copy_metadata(
    place: Path, path: str, like: os.stat_result | None, inside: ConfinedRoot
) -> None:
    if like is None:
        place.chmod(0o755)
        os.utime(place, (EPOCH, EPOCH))
        return
    os.chown(place, like.st_uid, like.st_gid)
    with inside.open_path(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        shutil.copystat(f"/proc/self/fd/{descriptor}", place)
