"""The GPUs of one container: device nodes of its own, and what else their vendor asks for.

The nodes are made in memory and shown to the container, since a program in a user namespace can
create none. They have the owners and modes that the specification says.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import kernel
from layerline.engine.runtime.cdi import Edits
from layerline.engine.runtime.cdi_files import edits_for
from layerline.engine.runtime.spec import Bind
from layerline.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layerline.engine.runtime.cdi import DeviceNode
    from layerline.engine.runtime.runtime_spec import Json
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.engine.runtime.users import User

_KINDS = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}
_MODE = 0o666  # runc's for a device without one


@dataclass(slots=True, kw_only=True)
class GpuDevices:
    """What the GPUs of a container add to it; nothing without GPUs.

    `nodes` are the device nodes by where they are; `rules` and `hooks` are in OCI's terms.
    """

    edits: Edits = field(default_factory=Edits)
    nodes: dict[Path, DeviceNode] = field(default_factory=dict)
    rules: list[Json] = field(default_factory=list)

    @property
    def hooks(self) -> dict[str, list[Json]]:
        """The programs to start, by the moments at which they are."""
        found: dict[str, list[Json]] = {}
        for hook in self.edits.hooks:
            described: Json = {"path": hook.path, "args": list(hook.argv), "env": list(hook.env)}
            if hook.timeout is not None:
                described["timeout"] = hook.timeout
            found.setdefault(hook.name, []).append(described)
        return found

    def container(self, spec: ContainerSpec) -> ContainerSpec:
        """The container with the nodes, mounts and variables."""
        nodes = (Bind(target=node.path, source=place) for place, node in self.nodes.items())
        mounts = (
            Bind(
                target=mount.container_path,
                source=Path(mount.host_path),
                readonly="ro" in mount.options,
                options=mount.options,
            )
            for mount in self.edits.mounts
        )
        return replace(
            spec, env=(*spec.env, *self.edits.env), mounts=(*spec.mounts, *mounts, *nodes)
        )

    def user(self, user: User) -> User:
        """The user with the groups; nodes without an owner become the user's, as in CDI."""
        for place, node in self.nodes.items():
            uid = user.uid if node.uid is None else node.uid
            os.chown(place, uid, user.gid if node.gid is None else node.gid)
        return replace(user, groups=tuple(dict.fromkeys((*user.groups, *self.edits.groups))))


@contextmanager
def gpu_devices(
    spec: ContainerSpec, state: Path, environ: Mapping[str, str]
) -> Iterator[GpuDevices]:
    """Make the device nodes in `state`, a directory in memory, for the time of the block."""
    if not spec.gpus:
        yield GpuDevices()
        return
    devices = GpuDevices(edits=edits_for(spec.gpus, environ))
    place = state / "devices"
    place.mkdir()
    flags = kernel.MS_NOSUID | kernel.MS_NOEXEC  # and not nodev, as `state` is
    kernel.mount("tmpfs", place, "tmpfs", flags, "mode=0711")
    try:
        for number, node in enumerate(devices.edits.nodes):
            if not (spec.rules_host and Path(node.path).exists()):  # which has the host's own
                _make(devices, place / str(number), node)
        yield devices
    finally:
        kernel.unmount(place)


def _make(devices: GpuDevices, place: Path, node: DeviceNode) -> None:
    kind, number = _identity(node)
    os.mknod(place, _KINDS[kind] | 0o600, number)
    place.chmod(_MODE if node.mode is None else node.mode & 0o777)
    devices.nodes[place] = node
    devices.rules.append(
        {
            "allow": True,
            "type": kind,
            "major": os.major(number),
            "minor": os.minor(number),
            "access": node.permissions,
        }
    )


def _identity(node: DeviceNode) -> tuple[str, int]:
    """The letter and the number of a device; the host's where the specification has none."""
    if node.kind and node.major is not None and node.minor is not None:
        return node.kind, os.makedev(node.major, node.minor)
    try:
        found = Path(node.host_path).stat()
    except OSError as exc:
        message = f"the GPU needs the device {node.host_path}: {exc.strerror}: load its driver"
        raise HostError(message) from exc
    letters = {kind: letter for letter, kind in _KINDS.items()}
    kind = letters.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        message = f"{node.host_path} is not a device, as the GPU's CDI specification says it is"
        raise HostError(message)
    major = os.major(found.st_rdev) if node.major is None else node.major
    minor = os.minor(found.st_rdev) if node.minor is None else node.minor
    return kind, os.makedev(major, minor)
