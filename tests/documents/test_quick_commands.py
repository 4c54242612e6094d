"""The commands of the pages that need neither a build nor a download, run as they are shown."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from layerline.engine.store.volume_archive import end_note, head_note
from tests.documents.sessions import SESSIONS, Session
from tests.documents.walking import Walk, environment

if TYPE_CHECKING:
    from pathlib import Path

VOLUMES = {
    "docs/how-to/cache-volumes.md": "uv-core-cpu-v2",
    "docs/implementation-guide.md": "uv-pytorch-cpu-v2",
}


def archive_of(volume: str) -> bytes:
    """A cache volume without files, as `store volume export` writes it."""
    data = tarfile.TarInfo("data")
    data.type, data.mode = tarfile.DIRTYPE, 0o755
    return head_note(f"{volume}-{'0' * 16}") + data.tobuf(tarfile.PAX_FORMAT) + end_note(1)


@pytest.mark.privileged
@pytest.mark.parametrize(
    "session", [each for each in SESSIONS if each.quick], ids=lambda session: session.page
)
def test_a_page_is_followed(session: Session, tmp_path: Path, registry: str) -> None:
    environ = environment(tmp_path, LAYERLINE_CACHE=f"{registry}/volumes")
    walk = Walk(session=session, place=tmp_path, environ=environ, texts={"registry": registry})
    walk.prepare()
    if volume := VOLUMES.get(session.page):
        saved = walk.repository / f"{volume}.tar"
        saved.write_bytes(archive_of(volume))
    if session.page == "docs/how-to/cache-volumes.md":
        walk.succeed(f"layerline store volume import {volume}.tar")
    assert walk.go(quick=True)
