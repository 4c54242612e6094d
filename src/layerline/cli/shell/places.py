"""Where a shell stands: a directory of a repository, and the module that is loaded there."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline.engine.module.git_addresses import is_git
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.cli.chain.modules import CallTarget
    from layerline.engine.module.git_addresses import GitOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory `path` of the context, which is a directory of this machine or `origin`.

    `target` is the module whose functions are commands here, or the core.
    """

    root: Path
    path: str
    target: CallTarget
    origin: GitOrigin | None = None

    def within(self, path: str) -> str:
        """A path as an absolute one of the context; relative ones begin at the place."""
        if path.startswith("/"):
            return posixpath.normpath(path)
        joined = posixpath.normpath(posixpath.join(self.path.lstrip("/"), path))
        if joined == ".." or joined.startswith("../"):
            message = f"can't escape context root: {self.shown('/')}"
            raise LayerlineError(message)
        return posixpath.normpath(posixpath.join("/", joined))

    def shown(self, path: str) -> str:
        """How an absolute path of the context is written."""
        if self.origin is None:
            return str(self.host_path(path))
        below = "" if path == "/" else path
        version = f"@{self.origin.version}" if self.origin.version else ""
        return f"{self.origin.repository}{below}{version}"

    def host_path(self, path: str) -> Path:
        """An absolute path of the context on this machine."""
        return self.root / path.lstrip("/")

    def address(self, path: str) -> str:
        """What a path in an argument stands for, as an address that the engine understands."""
        if is_git(path):
            return path
        try:
            inside = self.within(path)
        except LayerlineError:
            return path
        if self.origin is None:
            return str(self.host_path(inside))
        below = "" if inside == "/" else f":{inside}"
        return f"{self.origin.repository}#{self.origin.commit}{below}"

    def move(self, path: str) -> Place:
        """The place at another absolute path of the same context."""
        return replace(self, path=path)


def place_of(target: CallTarget, *, at: Path, with_module: bool) -> Place:
    """The place of a module, or the core's in a directory; without modules, that is the root."""
    if target.loaded is None:
        root = _repository(at) if with_module else at
        return Place(root=root, path=_path_in(root, at), target=target)
    config = target.loaded.config
    if config.origin is not None:
        path = posixpath.join("/", config.origin.subpath)
        return Place(root=config.context, path=path, target=target, origin=config.origin)
    context = config.served_context or config.served or config.context
    return Place(root=context, path=_path_in(context, at), target=target)


def _repository(at: Path) -> Path:
    """The repository that a directory lies in; the directory itself where it lies in none."""
    return next((place for place in (at, *at.parents) if (place / ".git").exists()), at)


def _path_in(root: Path, at: Path) -> str:
    try:
        return posixpath.join("/", at.relative_to(root).as_posix()).removesuffix("/.") or "/"
    except ValueError:
        return "/"
