"""What is mounted into a container for its execs.

Directories, files, caches, secrets, temporary file systems.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.api.container_paths import HIDDEN, absolute, add_mount
from layerline.engine.api.fields import field
from layerline.engine.api.objects import CacheVolume, Container, Directory, File, Secret, Socket
from layerline.engine.api.resolvers.container_files import copy_file
from layerline.engine.solve import ops
from layerline.engine.solve.keys import identity_of

if TYPE_CHECKING:
    from layerline.engine.api.session import Call


def _target(container: Container, path: str, *, expand: bool) -> str:
    return absolute(container, path, expand=expand).rstrip("/") or "/"


def _names(container: Container) -> ops.Names:
    return ops.Names(tree=container.rootfs or ops.Scratch())


@field("Container", "mounts")
def mounts(self: Container, _call: Call) -> list[str]:
    """The paths of all mounts but those of secrets and sockets."""
    return [mount.target for mount in self.mounts if not isinstance(mount, HIDDEN)]


@field("Container", "withMountedDirectory")
def with_mounted_directory(
    self: Container,
    _call: Call,
    *,
    path: str,
    source: Directory,
    owner: str = "",
    read_only: bool = False,
    expand: bool = False,
) -> Container:
    """Mount a directory; with an owner it is a copy that belongs to that owner."""
    if owner:
        source = _copy_with_owner(source, owner, self)
    mount = ops.DirectoryMount(
        target=_target(self, path, expand=expand),
        source=source.tree,
        path=source.path,
        readonly=read_only,
    )
    return add_mount(self, mount)


def _copy_with_owner(directory: Directory, owner: str, container: Container) -> Directory:
    """The directory as that of an owner, whose name is looked up in the container; modes stay."""
    tree = ops.Chown(base=directory.tree, path=directory.path, owner=owner, names=_names(container))
    return replace(directory, tree=tree)


@field("Container", "withMountedFile")
def with_mounted_file(
    self: Container, _call: Call, *, path: str, source: File, owner: str = "", expand: bool = False
) -> Container:
    """Mount a file; with an owner it is a copy that belongs to that owner."""
    if owner:
        copy = f"/{posixpath.basename(source.path)}"
        tree = copy_file(ops.Scratch(), copy, source, owner=owner, names=_names(self))
        source = File(tree=tree, path=copy)
    mount = ops.FileMount(
        target=_target(self, path, expand=expand), source=source.tree, path=source.path
    )
    return add_mount(self, mount)


@field("Container", "withMountedCache")
def with_mounted_cache(
    self: Container,
    _call: Call,
    *,
    path: str,
    cache: CacheVolume,
    source: Directory | None = None,
    sharing: str = "SHARED",
    owner: str = "",
    expand: bool = False,
) -> Container:
    """Mount a cache volume.

    Arguments given here override the volume's own, and select another volume.
    """
    volume = replace(
        cache,
        source=source.tree if source else cache.source,
        source_path=source.path if source else cache.source_path,
        sharing=sharing if sharing != "SHARED" else cache.sharing,
        owner=owner or cache.owner,
    )
    identity = identity_of(volume)
    if volume.owner and volume.source:
        owned = _copy_with_owner(
            Directory(tree=volume.source, path=volume.source_path), volume.owner, self
        )
        volume = replace(volume, source=owned.tree, source_path=owned.path)
    mount = ops.CacheMount(
        target=_target(self, path, expand=expand),
        volume=f"{volume.key}-{identity}",
        sharing=volume.sharing,
        owner=volume.owner,
        seed=volume.source,
        seed_path=volume.source_path,
    )
    return add_mount(self, mount)


@field("Container", "withMountedTemp")
def with_mounted_temp(
    self: Container, _call: Call, *, path: str, size: int | None = None, expand: bool = False
) -> Container:
    """Mount a temporary file system, empty in each exec; `size` in bytes."""
    return add_mount(self, ops.TemporaryMount(target=_target(self, path, expand=expand), size=size))


@field("Container", "withMountedSecret")
def with_mounted_secret(
    self: Container,
    _call: Call,
    *,
    path: str,
    source: Secret,
    owner: str = "",
    mode: int = 0o400,
    expand: bool = False,
) -> Container:
    """Mount a secret as a file that exists in memory only."""
    secret = ops.SecretRef(identity=source.identity, name=source.name)
    mount = ops.SecretMount(
        target=_target(self, path, expand=expand), secret=secret, owner=owner, mode=mode
    )
    return add_mount(self, mount)


@field("Container", "withUnixSocket")
def with_unix_socket(
    self: Container,
    _call: Call,
    *,
    path: str,
    source: Socket,
    owner: str = "",
    expand: bool = False,
) -> Container:
    """Let execs connect to a unix socket of the host."""
    target = _target(self, path, expand=expand)
    return add_mount(self, ops.SocketMount(target=target, host_path=source.path, owner=owner))


@field("Container", "withoutMount")
def without_mount(self: Container, _call: Call, *, path: str, expand: bool = False) -> Container:
    """Remove a mount, and the secret that is mounted over it; an unknown path is fine."""
    target = _target(self, path, expand=expand)
    kept = tuple(
        mount
        for mount in self.mounts
        if isinstance(mount, ops.SocketMount) or mount.target != target
    )
    return replace(self, mounts=kept, image_ref="")


@field("Container", "withoutUnixSocket")
def without_unix_socket(
    self: Container, _call: Call, *, path: str, expand: bool = False
) -> Container:
    """Remove a socket; an unknown path is fine."""
    target = _target(self, path, expand=expand)
    kept = tuple(
        mount
        for mount in self.mounts
        if not isinstance(mount, ops.SocketMount) or mount.target != target
    )
    return replace(self, mounts=kept, image_ref="")


@field("Container", "withSecretVariable")
def with_secret_variable(self: Container, _call: Call, *, name: str, secret: Secret) -> Container:
    """A variable that execs see; it is neither listed nor exported, and scrubbed from outputs."""
    ref = ops.SecretRef(identity=secret.identity, name=secret.name)
    if any(known == name for known, _ in self.secret_env):
        pairs = tuple((known, ref if known == name else old) for known, old in self.secret_env)
    else:
        pairs = (*self.secret_env, (name, ref))
    return replace(self, secret_env=pairs, image_ref="")


@field("Container", "withoutSecretVariable")
def without_secret_variable(self: Container, _call: Call, *, name: str) -> Container:
    """Remove a secret variable."""
    kept = tuple(pair for pair in self.secret_env if pair[0] != name)
    return replace(self, secret_env=kept, image_ref="")
