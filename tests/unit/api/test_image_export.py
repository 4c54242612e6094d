"""Layers are packed while later steps still run."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import anyio
import pytest

from layerline.engine.api.image_export import assemble_image, pack_ahead
from layerline.engine.api.objects import Container
from layerline.engine.image.config import ImageConfig
from layerline.engine.solve import ops
from tests.unit.conftest import ask, fail

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

pytestmark = pytest.mark.usefixtures("root")
SECONDS = 30.0


def copy_into_here() -> ops.Op:
    """A copied directory, whose layer does not depend on its base."""
    source = ops.NewFile(base=ops.Scratch(), path="/a", data=b"text")
    base = ops.NewFile(base=ops.Scratch(), path="/b", data=b"text")
    return ops.CopyDirectory(base=base, path="/here", source=source, source_path="/")


def packed_layers(session: Session) -> set[str]:
    return {key for key, _ in session.store.index.scan("layer")}


async def test_a_copied_directory_is_packed_before_the_image_is_assembled(
    open_a_session: OpenSession,
) -> None:
    op = copy_into_here()
    async with open_a_session() as session:
        pack_ahead(session, "ZSTD")
        below, layer = (await session.solver.result(op)).layers
        with anyio.fail_after(SECONDS):
            while not packed_layers(session):  # noqa: ASYNC110 - a thread does it
                await anyio.sleep(0.01)
        ahead = packed_layers(session)
        assert f"{layer}:Zstd" in ahead
        assert f"{below}:Zstd" not in ahead
        container = Container(config=ImageConfig(), rootfs=op)
        await assemble_image(session.call(), container, forced_compression="ZSTD")
        assert f"{below}:Zstd" in packed_layers(session)


async def test_directories_that_are_merged_first_are_packed_once(
    open_a_session: OpenSession,
) -> None:
    """An image has the layer that they are copied into, not those of the directories."""
    merged: ops.Op = ops.Scratch()
    for name in ("/a", "/b"):
        source = ops.NewFile(base=ops.Scratch(), path=name, data=b"text")
        merged = ops.CopyDirectory(base=merged, path="/", source=source, source_path="/")
    base = ops.NewFile(base=ops.Scratch(), path="/c", data=b"text")
    op = ops.CopyDirectory(base=base, path="/here", source=merged, source_path="/")
    async with open_a_session() as session:
        pack_ahead(session, "ZSTD")
        layer = (await session.solver.result(op)).layers[-1]
        with anyio.fail_after(SECONDS):
            while f"{layer}:Zstd" not in packed_layers(session):  # noqa: ASYNC110 - as above
                await anyio.sleep(0.01)
        ahead = {key for key in packed_layers(session) if key.endswith(":Zstd")}
    assert ahead == {f"{layer}:Zstd"}


async def test_nothing_is_packed_unless_asked(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        await session.solver.result(copy_into_here())
    async with open_a_session() as session:
        assert packed_layers(session) == set()


async def test_an_archive_gets_the_directories_above_it(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    """As the Dagger engine does (engine/client/filesync.go): they have the mode 0700."""
    query = 'container { withNewFile(path: "/a", contents: "") { export(path: "out/deep/x.tar") } }'
    async with open_a_session() as session:
        made = await ask(session, "{" + query + "}")
        (tmp_path / "file").write_text("")
        error = await fail(session, "{" + query.replace("out/deep", "file") + "}")
    target = tmp_path / "out/deep/x.tar"
    assert made["container"]["withNewFile"]["export"] == str(target)
    assert tarfile.is_tarfile(target)
    assert [path.stat().st_mode & 0o777 for path in target.parents[:2]] == [0o700, 0o700]
    assert f"failed to export to {tmp_path}/file/x.tar" in error["message"]


async def test_estargz_and_zstd_chunked_are_forms_of_an_image(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    """EStarGZ is a value of the API's ImageLayerCompression; zstd:chunked is a setting."""
    place = tmp_path / ".config/layerline/config.toml"
    place.parent.mkdir(parents=True)
    place.write_text("[compression]\nzstd_chunked = true\nzstd_level = 9\n")
    async with open_a_session() as session:
        for kind in ("EStarGZ", "Zstd"):
            query = f'export(path: "{kind}.tar", forcedCompression: {kind})'
            await ask(
                session,
                f'{{ container {{ withNewFile(path: "/a", contents: "b") {{ {query} }} }} }}',
            )
        kinds = packed_layers(session)
    assert any(key.endswith(":EStarGZ") for key in kinds)
    assert any(key.endswith(":ZstdChunked@9") for key in kinds)
