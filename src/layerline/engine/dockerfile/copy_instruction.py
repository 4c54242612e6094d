"""COPY and ADD as ops: from the context, a stage, an image, inline documents and URLs."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from layerline.engine.api.resolvers.git import is_git_url
from layerline.engine.dockerfile.expansion import expand_document
from layerline.engine.solve import ops
from layerline.engine.sources.http import DownloadRequest, fetch, file_name
from layerline.engine.trees.chmod import change_of
from layerline.errors import NotSupported, QueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from layerline.dockerfile_lexer import Heredoc
    from layerline.engine.api.session import Call
    from layerline.engine.dockerfile.instructions import Copy
    from layerline.engine.dockerfile.state import State
    from layerline.engine.solve.ops import Op

_PIVOT = "/./"
# Raise it when archives are unpacked in another way: it is in the keys of the steps that do.
_UNPACKING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Copier:
    """Applies the COPY and ADD instructions of a build.

    `files` gives a tree that holds what patterns match in a stage, or in the context.
    """

    call: Call
    files: Callable[[str, list[str]], Awaitable[Op]]

    async def copy(self, state: State, copy: Copy) -> State:
        """The stage after a COPY or an ADD."""
        copy = _expand(copy, state)
        _check(copy)
        sources = [source for source in copy.sources if not _is_url(source)]
        rootfs = state.container.rootfs or ops.Scratch()
        if sources:
            patterns = [_absolute(source, keep_pivot=copy.parents) for source in sources]
            files = await self.files(copy.stage, [_without_pivot(p) for p in patterns])
            unpack = copy.add if copy.unpack is None else copy.unpack
            rootfs = replace(
                _copy_op(rootfs, state, copy, files, patterns),
                parents=copy.parents,
                unpack=unpack,
                rules=_UNPACKING if unpack else 0,
            )
        for url in filter(_is_url, copy.sources):
            rootfs = await self._add_url(rootfs, state, copy, url)
        for document in copy.heredocs:
            rootfs = _document(rootfs, state, copy, document)
        return replace(state, container=replace(state.container, rootfs=rootfs, image_ref=""))

    async def _add_url(self, rootfs: Op, state: State, copy: Copy, url: str) -> Op:
        session = self.call.session
        request = DownloadRequest(
            url=url, name=file_name(url, "__unnamed__"), checksum=copy.checksum
        )
        download = await session.once(
            f"download {url} {copy.checksum}",
            partial(session.solver.in_thread, fetch, session.store, session.settings, request),
        )
        files = ops.Stored(digest=download.digest, snapshots=(download.snapshot,))
        copy_op = _copy_op(rootfs, state, copy, files, [f"/{download.name}"])
        unpack = bool(copy.unpack)
        return replace(copy_op, unpack=unpack, rules=_UNPACKING if unpack else 0)


def destination_of(state: State, path: str) -> str:
    """An absolute destination; a final slash, or a dot, says that it is a directory."""
    absolute = posixpath.normpath(posixpath.join("/", state.image.workdir, path)).lstrip("/")
    is_directory = path in ("", ".") or path.endswith(("/", "/."))
    return f"/{absolute}/" if is_directory and absolute else f"/{absolute}"


def _document(rootfs: Op, state: State, copy: Copy, document: Heredoc) -> Op:
    text = document.text
    if document.expand:
        text = expand_document(text, state.variables)
    file = ops.NewFile(base=ops.Scratch(), path=f"/{document.name}", data=text.encode())
    return _copy_op(rootfs, state, copy, file, [f"/{document.name}"])


def _copy_op(
    rootfs: Op, state: State, copy: Copy, files: Op, patterns: list[str]
) -> ops.DockerfileCopy:
    return ops.DockerfileCopy(
        base=rootfs,
        destination=destination_of(state, copy.destination),
        source=files,
        patterns=tuple(patterns),
        exclude=copy.exclude,
        owner=copy.owner,
        mode=copy.mode,
    )


def _expand(copy: Copy, state: State) -> Copy:
    expand = state.expand
    return replace(
        copy,
        sources=tuple(map(expand, copy.sources)),
        destination=expand(copy.destination),
        owner=expand(copy.owner),
        mode=expand(copy.mode),
        exclude=tuple(map(expand, copy.exclude)),
        checksum=expand(copy.checksum),
    )


def _check(copy: Copy) -> None:
    if copy.mode:
        change_of(copy.mode)
    for message in _errors(copy):
        raise QueryError(message)
    if any(_is_git(source) for source in copy.sources):
        what = "ADD of a git repository"
        raise NotSupported(what)


def _errors(copy: Copy) -> Iterator[str]:
    if not copy.add and any(_is_git(source) for source in copy.sources):
        yield "source can't be a git ref for COPY"
    if not copy.add and any(map(_is_url, copy.sources)):
        yield "source can't be a URL for COPY"
    if copy.checksum and len(copy.sources) != 1:
        yield "checksum can't be specified for multiple sources"
    if copy.checksum and not all(map(_is_url, copy.sources)):
        yield "checksum requires HTTP(S) sources"


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _is_git(source: str) -> bool:
    if _is_url(source):
        return source.partition("#")[0].endswith(".git")
    return is_git_url(source)


def _absolute(path: str, *, keep_pivot: bool) -> str:
    if keep_pivot and _PIVOT in path:
        above, _, below = path.partition(_PIVOT)
        return f"{_clean(above)}{_PIVOT}{_clean(below).lstrip('/')}"
    return _clean(path)


def _without_pivot(pattern: str) -> str:
    return _clean(pattern.replace(_PIVOT, "/"))


def _clean(path: str) -> str:
    return "/" + posixpath.normpath("/" + path).lstrip("/")
