"""An image's layers are packed while the steps that decide about it still run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from layerline.engine.api.image_export import assemble_image, pack_ahead
from layerline.engine.api.objects import Container
from layerline.engine.image.config import ImageConfig
from layerline.engine.solve import ops

if TYPE_CHECKING:
    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

pytestmark = pytest.mark.usefixtures("root")
SECONDS = 30.0


def placed() -> ops.Op:
    """A directory put where the layer does not depend on what is below."""
    source = ops.NewFile(base=ops.Scratch(), path="/a", data=b"text")
    base = ops.NewFile(base=ops.Scratch(), path="/b", data=b"text")
    return ops.CopyDirectory(base=base, path="/here", source=source, source_path="/")


def packed(session: Session) -> set[str]:
    return {key for key, _ in session.store.index.scan("layer")}


async def test_what_is_placed_is_packed_before_there_is_an_image(
    open_a_session: OpenSession,
) -> None:
    op = placed()
    async with open_a_session() as session:
        pack_ahead(session, "ZSTD")
        below, layer = (await session.solver.result(op)).layers
        with anyio.fail_after(SECONDS):
            while not packed(session):  # noqa: ASYNC110 - a thread does it
                await anyio.sleep(0.01)
        ahead = packed(session)
        assert f"{layer}:Zstd" in ahead
        assert f"{below}:Zstd" not in ahead
        container = Container(config=ImageConfig(), rootfs=op)
        await assemble_image(session.call(), container, forced_compression="ZSTD")
        assert f"{below}:Zstd" in packed(session)


async def test_nothing_is_packed_for_who_ships_nothing(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        await session.solver.result(placed())
    async with open_a_session() as session:
        assert packed(session) == set()
