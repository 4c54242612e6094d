"""Images of containers: layers are packed while later steps still run, then assembled."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from layerline.engine.image.assemble import AssembledImage, Part, assemble
from layerline.engine.image.manifests import COMPRESSIONS, Compression, MediaTypes
from layerline.engine.image.pack import layer_blob
from layerline.engine.solve import ops
from layerline.engine.solve.task_groups import task_group
from layerline.errors import LayerlineError, NotSupported, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from layerline.engine.api.objects import Container
    from layerline.engine.api.session import Call, Session
    from layerline.engine.image.pack import LayerBlob
    from layerline.engine.image.registry_server.served_layers import ServedLayers
    from layerline.engine.solve.result import Result
    from layerline.log import Attribute


# The names that older clients write.
_MEDIA_TYPES = {"OCI": MediaTypes.OCI.value, "DOCKER": MediaTypes.DOCKER.value}


def facts_of(image: AssembledImage) -> dict[str, Attribute]:
    """What progress tells of an image that is written: its digest, and its layers' bytes."""
    size = sum(layer.size for layer in image.layers)
    return {"layerline.digest": str(image.root.digest), "layerline.bytes": size}


async def assemble_image(
    call: Call,
    container: Container,
    *,
    platform_variants: Sequence[Container] = (),
    forced_compression: str | None = None,
    media_types: str = MediaTypes.OCI.value,
    served: ServedLayers | None = None,
) -> AssembledImage:
    """Assemble the image of a container and its platform variants.

    The container itself counts where a variant has the same platform. Layers have the form of
    `served` unless a compression is forced.
    """
    chosen = {
        str(each.config.platform): each
        for each in (*platform_variants, container)
        if each.rootfs is not None
    }
    if not chosen:
        message = "no containers to export: give one files, by from or a file operation"
        raise QueryError(message)
    compression = _compression(call.session, forced_compression)
    make = served.layer if served is not None and compression is None else None
    packer = _Packer(session=call.session, compression=compression, make=make)
    parts: list[Part] = []
    for each in chosen.values():
        assert each.rootfs is not None
        result = await _run_and_pack(call, each.rootfs, packer)
        parts.append(Part(config=each.config, layers=result.layers, annotations=each.annotations))
    session = call.session
    return await session.solver.in_thread(
        functools.partial(
            assemble,
            session.store,
            parts,
            compression=compression,
            media_types=MediaTypes(_MEDIA_TYPES.get(media_types, media_types)),
            epoch=session.settings.source_date_epoch,
            zstd_level=session.settings.zstd.level,
            blob_of=make,
        )
    )


def _compression(session: Session, name: str | None) -> Compression | None:
    if name is None:
        return None
    if name.upper() not in COMPRESSIONS:
        message = f"forcedCompression {name}"
        raise NotSupported(message)
    found = COMPRESSIONS[name.upper()]
    chunked = found is Compression.ZSTD and session.settings.zstd.chunked
    return Compression.ZSTD_CHUNKED if chunked else found


def prefer_form(session: Session, forced_compression: str | None) -> None:
    """Send results to other machines in the form of an image that is published."""
    if (shared := session.solver.context.shared) is not None:
        shared.prefer(_compression(session, forced_compression))


def pack_ahead(session: Session, forced_compression: str | None = None) -> None:
    """Pack every layer that does not depend on its base as soon as it exists.

    For callers that know that an image will be exported or published before its steps run.
    """
    packer = _Packer(session=session, compression=_compression(session, forced_compression))

    async def pack(layer: str) -> None:
        with contextlib.suppress(LayerlineError):  # assembling the image raises it again
            await packer.pack(layer)

    def on_result(op: ops.Op, result: Result) -> None:
        if not isinstance(op, ops.CopyDirectory) or _is_merge(op):
            return
        if result.layers and result.layers[-1] != op.key:
            session.solver.group.start_soon(pack, result.layers[-1])

    session.solver.listeners.append(on_result)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Packer:
    """Packs layers one at a time, which leaves most of the machine to the steps that run."""

    session: Session
    compression: Compression | None
    make: Callable[[str], LayerBlob] | None = None
    _turn: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    async def pack(self, layer: str) -> None:
        """Make the blob of a layer unless it exists."""
        session = self.session
        epoch = session.settings.source_date_epoch
        make = self.make or functools.partial(
            layer_blob,
            session.store,
            compression=self.compression,
            epoch=epoch,
            zstd_level=session.settings.zstd.level,
        )
        async with self._turn:
            await session.solver.in_thread(make, layer)


async def _run_and_pack(call: Call, target: ops.Op, packer: _Packer) -> Result:
    """Run the steps, and pack each new layer while later steps run."""
    session = call.session
    lineage = _lineage(target)
    async with task_group() as group:

        def on_result(op: ops.Op, result: Result) -> None:
            if op.key in lineage and result.layers:
                group.start_soon(packer.pack, result.layers[-1])

        session.solver.listeners.append(on_result)
        try:
            result = await session.solver.result(target)
        finally:
            session.solver.listeners.remove(on_result)
    return result


def _lineage(target: ops.Op) -> set[str]:
    """The keys of the steps whose layers lie in the target's tree."""
    return {op.key for op in _steps_below(target)}


def _is_merge(op: ops.CopyDirectory) -> bool:
    """Whether directories are merged for a later step, whose layer is the one that images have."""
    return op.path == "/" and isinstance(list(_steps_below(op))[-1], ops.Scratch)


def _steps_below(target: ops.Op) -> Iterator[ops.Op]:
    """A step and those that its tree is based on, the lowest last."""
    op: ops.Op | None = target
    while op is not None:
        yield op
        match op:
            case ops.ExecRootfs() | ops.ExecMount():
                op = op.exec
            case ops.Exec():
                op = op.rootfs
            case _:
                op = getattr(op, "base", None)
