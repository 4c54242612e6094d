"""Attach a container's mounts to its mounted root, before the container starts.

Invariant: a target is opened inside the root and mounted onto by descriptor, so nothing can be
swapped between the check and the mount.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from layerline import kernel
from layerline.engine.runtime.confined_root import ConfinedRoot
from layerline.engine.runtime.spec import (
    Bind,
    ContainerSpec,
    LayerMount,
    Mount,
    Overlay,
    SecretFile,
    Tmpfs,
    Volume,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from layerline.engine.runtime.users import User

_SECRET = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV | kernel.ATTR_NOEXEC


@contextmanager
def mount_layers(overlay: Overlay, target: Path, *, stubs: Path | None = None) -> Iterator[Path]:
    """Mount the layers at `target`, which is created; `stubs` is one more layer on top."""
    target.mkdir()
    lower = (*overlay.lower, stubs) if stubs else overlay.lower
    required = 1 if overlay.upper else 2
    for number in range(required - len(lower)):
        empty = target.with_name(f"{target.name}-empty{number}")
        empty.mkdir()
        lower = (empty, *lower)
    kernel.mount_overlay(lower, target, upper=overlay.upper, work=overlay.work)
    try:
        yield target
    finally:
        kernel.unmount(target)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedMount:
    """A mount whose source is ready: an open descriptor, or None for memory."""

    mount: Mount
    source: int | None
    directory: bool


def stage(
    mount: Mount, state: Path, stack: ExitStack, *, lookup: Callable[[str], User]
) -> StagedMount:
    """Make the source ready, for as long as `stack` lives.

    `state` is an empty directory in memory for this mount's own needs.
    """
    if isinstance(mount, Tmpfs):
        return StagedMount(mount=mount, source=None, directory=True)
    source = _source(mount, state, stack, lookup)
    directory = stat.S_ISDIR(os.fstat(source).st_mode)
    return StagedMount(mount=mount, source=source, directory=directory)


def attach_mount(staged: StagedMount, target: str, inside: ConfinedRoot, stack: ExitStack) -> None:
    """Mount at `target`; mount points created in other mounts are removed with `stack`."""
    if inside.stat(target) is None:
        for made in inside.make_stub(target, directory=staged.directory, stack=stack):
            stack.callback(made.remove)
    with inside.open_path(target) as descriptor:
        if staged.source is None:
            # The descriptor as the path: the mount lands on what was checked.
            path = Path(f"/proc/self/fd/{descriptor}")
            kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, _size(staged))
        else:
            deep = isinstance(staged.mount, Bind)
            flags = _attributes(staged.mount)
            kernel.attach(staged.source, descriptor, attributes=flags, recursive=deep)


def attach_file(source: Path, target: str, inside: ConfinedRoot) -> None:
    """Show a file of the host, read-only, over a file that exists inside."""
    origin = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        with inside.open_path(target) as descriptor:
            kernel.attach(origin, descriptor, attributes=kernel.ATTR_RDONLY, recursive=False)
    finally:
        os.close(origin)


def by_target(spec: ContainerSpec) -> list[Mount]:
    """The mounts, those above others first."""
    return sorted(spec.mounts, key=lambda mount: mount.target.split("/"))


def _source(
    mount: Bind | LayerMount | Volume | SecretFile,
    state: Path,
    stack: ExitStack,
    lookup: Callable[[str], User],
) -> int:
    match mount:
        case Bind():
            source = os.open(mount.source, os.O_PATH | os.O_CLOEXEC)
        case Volume():
            source = os.open(mount.source, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
            if mount.owner:
                os.chown(mount.source, *_owner(mount.owner, lookup))
        case SecretFile():
            path = state / "secret"
            path.write_bytes(mount.data)
            os.chown(path, *_owner(mount.owner, lookup))
            path.chmod(mount.mode & 0o777)
            source = os.open(path, os.O_PATH | os.O_CLOEXEC)
        case LayerMount():
            tree = stack.enter_context(mount_layers(mount.overlay, state / "tree"))
            with ConfinedRoot(tree) as inner:
                source = inner.open(mount.subpath, os.O_PATH)
        case _:
            assert_never(mount)
    stack.callback(os.close, source)
    return source


def _owner(text: str, lookup: Callable[[str], User]) -> tuple[int, int]:
    """The ids of an owner: without a group, the user's id is the group's, too."""
    user = lookup(text)
    return user.uid, user.gid if ":" in text else user.uid


def _attributes(mount: Mount) -> int:
    match mount:
        case SecretFile():
            return _SECRET if mount.mode & 0o111 == 0 else _SECRET & ~kernel.ATTR_NOEXEC
        case Tmpfs():
            return 0
        case _:
            return kernel.ATTR_RDONLY if mount.readonly else 0


def _size(staged: StagedMount) -> str:
    size = staged.mount.size if isinstance(staged.mount, Tmpfs) else None
    return f"size={size}" if size else ""
