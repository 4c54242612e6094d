"""Attach a container's mounts to its mounted root, before the container starts.

Invariant: a target is opened inside the root and mounted onto by descriptor, so nothing can be
swapped between the check and the mount.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from layerline import kernel
from layerline.engine.runtime.confined_root import ConfinedRoot
from layerline.engine.runtime.forward import forward_unix
from layerline.engine.runtime.spec import (
    Bind,
    ContainerSpec,
    LayerMount,
    Mount,
    Overlay,
    SecretFile,
    Socket,
    Tmpfs,
    Volume,
)
from layerline.engine.runtime.user_ids import BASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from layerline.engine.runtime.user_ids import ShiftedFiles
    from layerline.engine.runtime.users import User

_RESTRICTIONS = {
    "nosuid": kernel.ATTR_NOSUID,
    "nodev": kernel.ATTR_NODEV,
    "noexec": kernel.ATTR_NOEXEC,
}
_SECRET = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV | kernel.ATTR_NOEXEC


@contextmanager
def mount_layers(
    overlay: Overlay,
    target: Path,
    *,
    stubs: Path | None = None,
    shifted: ShiftedFiles | None = None,
) -> Iterator[Path]:
    """Mount the layers at `target`, which is created; `stubs` is one more layer on top.

    With `shifted` their owners are those of a container's user namespace.
    """
    target.mkdir()
    lower = (*overlay.lower, stubs) if stubs else overlay.lower
    required = 1 if overlay.upper else 2
    for number in range(required - len(lower)):
        empty = (stubs or target).with_name(f"{target.name}-empty{number}")
        empty.mkdir()
        lower = (empty, *lower)
    upper, work = overlay.upper, overlay.work
    if shifted is not None:
        lower = tuple(map(shifted.view, lower))
        upper, work = (path and shifted.view(path) for path in (upper, work))
    # What overlayfs makes for itself, in its working directory, belongs to who mounts it.
    with kernel.creating_as(BASE) if shifted else nullcontext():
        kernel.mount_overlay(lower, target, upper=upper, work=work)
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
    mount: Mount,
    state: Path,
    stack: ExitStack,
    *,
    lookup: Callable[[str], User],
    shifted: ShiftedFiles | None = None,
) -> StagedMount:
    """Make the source ready, for as long as `stack` lives.

    `state` is an empty directory in memory for this mount's own needs.
    """
    if isinstance(mount, Tmpfs):
        return StagedMount(mount=mount, source=None, directory=True)
    source = _source(mount, state, stack, lookup, shifted)
    directory = stat.S_ISDIR(os.fstat(source).st_mode)
    return StagedMount(mount=mount, source=source, directory=directory)


def attach_mount(
    staged: StagedMount,
    target: str,
    inside: ConfinedRoot,
    stack: ExitStack,
    *,
    shifted: ShiftedFiles | None = None,
) -> None:
    """Mount at `target`; mount points created in other mounts are removed with `stack`."""
    make_target(target, inside, stack, directory=staged.directory, shifted=shifted)
    with inside.open_path(target) as descriptor:
        _check_kind(target, descriptor, directory=staged.directory)
        if staged.source is None:
            # The descriptor as the path: the mount lands on what was checked.
            path = Path(f"/proc/self/fd/{descriptor}")
            options = _tmpfs_options(staged, owner=BASE if shifted else 0)
            kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        else:
            deep = isinstance(staged.mount, Bind)
            # The layers' overlay has the owners already.
            own = shifted is not None and not isinstance(staged.mount, LayerMount)
            _attach(
                staged.source,
                descriptor,
                attributes=_attributes(staged.mount),
                recursive=deep,
                users=shifted.namespace if shifted and own else None,
            )


def make_target(
    target: str,
    inside: ConfinedRoot,
    stack: ExitStack,
    *,
    directory: bool,
    shifted: ShiftedFiles | None = None,
) -> None:
    """Make a mount point unless there is one; it is removed with `stack`."""
    if inside.stat(target) is not None:
        return
    with kernel.creating_as(BASE) if shifted else nullcontext():
        owner = BASE if shifted else 0
        made = inside.make_stub(target, directory=directory, owner=(owner, owner), stack=stack)
    for each in made:
        stack.callback(each.remove)


def _check_kind(target: str, descriptor: int, *, directory: bool) -> None:
    """Refuse what mount(2) refuses with ENOTDIR, in words."""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode) == directory:
        return
    what, there = ("a directory", "a file") if directory else ("a file", "a directory")
    message = f"{what} cannot be mounted over {there}: choose another path"
    raise NotADirectoryError(errno.ENOTDIR, message, target)


def _attach(
    source: int, target: int, *, attributes: int, recursive: bool, users: int | None
) -> None:
    try:
        kernel.attach(source, target, attributes=attributes, recursive=recursive, users=users)
    except OSError:
        if users is None:
            raise
        # A file system that cannot shift, or is shifted already: its owners are nobody inside.
        kernel.attach(source, target, attributes=attributes, recursive=recursive)


def attach_file(
    source: Path, target: str, inside: ConfinedRoot, *, shifted: ShiftedFiles | None = None
) -> None:
    """Show a file of the host, read-only, over a file that exists inside."""
    origin = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        with inside.open_path(target) as descriptor:
            users = shifted.namespace if shifted else None
            _attach(origin, descriptor, attributes=kernel.ATTR_RDONLY, recursive=False, users=users)
    finally:
        os.close(origin)


def by_target(spec: ContainerSpec) -> list[Mount]:
    """The mounts, those above others first, and secrets and sockets over others at their path."""
    return sorted(
        spec.mounts,
        key=lambda mount: (mount.target.split("/"), isinstance(mount, SecretFile | Socket)),
    )


def _source(
    mount: Bind | LayerMount | Volume | SecretFile | Socket,
    state: Path,
    stack: ExitStack,
    lookup: Callable[[str], User],
    shifted: ShiftedFiles | None,
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
        case Socket():
            path = state / "socket"
            # A socket of its own: that of the host keeps its owner and mode.
            stack.enter_context(forward_unix(path, mount.host))
            os.chown(path, *_owner(mount.owner, lookup))
            path.chmod(mount.mode)
            source = os.open(path, os.O_PATH | os.O_CLOEXEC)
        case LayerMount():
            tree = stack.enter_context(mount_layers(mount.overlay, state / "tree", shifted=shifted))
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
        case Tmpfs() | Socket():
            return 0
        case Bind():
            options = (flag for name, flag in _RESTRICTIONS.items() if name in mount.options)
            return sum(options) | (kernel.ATTR_RDONLY if mount.readonly else 0)
        case _:
            return kernel.ATTR_RDONLY if mount.readonly else 0


def _tmpfs_options(staged: StagedMount, *, owner: int) -> str:
    size = staged.mount.size if isinstance(staged.mount, Tmpfs) else None
    options = [f"size={size}"] if size else []
    return ",".join([*options, f"uid={owner}", f"gid={owner}"])
