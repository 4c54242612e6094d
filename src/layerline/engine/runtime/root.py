"""Assembly of a container's root file system, and its removal.

The layers are mounted twice: to resolve the mounts' targets, then with the stubs they need.
Invariant: when the context ends nothing of it is left, neither mounts nor stubs in a layer.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from layerline import kernel
from layerline.engine.runtime import mounts, users
from layerline.engine.runtime.confined_root import ConfinedRoot
from layerline.engine.runtime.device_masks import mask_devices
from layerline.engine.runtime.mountpoints import Stub, write_stubs
from layerline.engine.runtime.user_ids import BASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from layerline.engine.runtime.mounts import StagedMount
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.engine.runtime.user_ids import ShiftedFiles

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
INIT = "/.init"
_SYSTEM = ("/proc", "/sys", "/dev")
# For programs with certificate roots of their own: files, since an exec's environment is its own.
_TRUST_THE_BUNDLE = (
    Stub(path="/etc/pip.conf", data=f"[global]\ncert = {BUNDLE}\n".encode()),
    Stub(path="/etc/uv/uv.toml", data=b"native-tls = true\n"),
    Stub(path="/usr/lib/ssl/cert.pem", link=BUNDLE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """What the host gives to every container: files to show, and certificates to trust.

    `certificates_win` means that they were named by the user, so they replace those of an image.
    """

    init: Path
    resolv_conf: Path
    certificates: bytes | None
    certificates_win: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The mounted root. `late` are host paths that belong below /dev.

    The owners of its files are `shift` above those that the container knows.
    """

    path: Path
    inside: ConfinedRoot
    user: users.User
    late: Mapping[str, Path]
    shift: int = 0

    @property
    def owner(self) -> tuple[int, int]:
        """The user and group of the container's process, as the engine sees them."""
        return self.user.uid + self.shift, self.user.gid + self.shift

    def creating(self) -> AbstractContextManager[None]:
        """Files that are made in the block belong to the container's root."""
        return kernel.creating_as(self.shift) if self.shift else nullcontext()


@contextmanager
def assemble_root(
    spec: ContainerSpec, provided: Provided, state: Path, shifted: ShiftedFiles | None
) -> Iterator[Root]:
    """Mount everything of the container below `state`, an empty directory in memory.

    With `shifted` its users have other ids than the host's.
    """
    with ExitStack() as leftovers, ExitStack() as stack:
        place = state
        if shifted is not None:
            place = leftovers.enter_context(shifted.directory(state.name))
        stubs = state / "stubs"
        stubs.mkdir()
        image = replace(spec.rootfs, upper=None, work=None)
        with (
            mounts.mount_layers(image, state / "image") as image_root,
            ConfinedRoot(image_root) as inside,
        ):
            lookup = _lookup(inside)
            user = lookup(spec.user)
            stage = partial(mounts.stage, stack=leftovers, lookup=lookup, shifted=shifted)
            staged = [
                stage(mount, _directory(state / f"mount{number}"))
                for number, mount in enumerate(mounts.by_target(spec))
            ]
            write_stubs(_stubs(spec, provided, staged), inside, stubs)
        path = stack.enter_context(
            mounts.mount_layers(spec.rootfs, place / "root", stubs=stubs, shifted=shifted)
        )
        inside = stack.enter_context(ConfinedRoot(path))
        _check_system_directories(inside)
        if not kernel.has_trusted_attributes():
            mask_devices(spec.rootfs.lower, inside, state)
        if staged and inside.resolve(staged[0].mount.target) == "/":
            # It takes the place of the root, as in BuildKit; the other mounts are below it.
            mounts.attach_mount(staged.pop(0), "/", inside, leftovers, shifted=shifted)
            stack.callback(kernel.unmount, path)
            inside = stack.enter_context(ConfinedRoot(path))
            _make_own_targets(spec, inside, leftovers, shifted)
            user = _lookup(inside)(spec.user)
        # Before the user's mounts, as in BuildKit: one over /etc hides them.
        _show_names(spec, provided, inside, state, shifted)
        late = _attach_mounts(staged, inside, place, leftovers, shifted)
        if spec.init:
            mounts.attach_file(provided.init, INIT, inside, shifted=shifted)
        shift = BASE if shifted else 0
        yield Root(path=path, inside=inside, user=user, late=late, shift=shift)


def _attach_mounts(
    staged: Sequence[StagedMount],
    inside: ConfinedRoot,
    place: Path,
    leftovers: ExitStack,
    shifted: ShiftedFiles | None,
) -> dict[str, Path]:
    """Attach the mounts; gives the paths of those that the runtime attaches later, below /dev."""
    late: dict[str, Path] = {}
    for each in staged:
        if inside.resolve(each.mount.target).startswith("/dev/"):
            aside = place / f"late{len(late)}"
            late[each.mount.target] = _attach_aside(each, aside, leftovers, shifted)
        else:
            mounts.attach_mount(each, each.mount.target, inside, leftovers, shifted=shifted)
    return late


def _lookup(inside: ConfinedRoot) -> Callable[[str], users.User]:
    passwd, group = inside.read_text("/etc/passwd"), inside.read_text("/etc/group")
    return lambda name: users.resolve(name, passwd=passwd, group=group)


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


def _stubs(
    spec: ContainerSpec, provided: Provided, staged: Sequence[StagedMount]
) -> Iterator[Stub]:
    for path in _SYSTEM:
        yield Stub(path=path)
    for path in _own_files(spec):
        yield Stub(path=path, data=b"")
    if provided.certificates is not None:
        yield Stub(path=BUNDLE, data=provided.certificates, replace=provided.certificates_win)
    if provided.certificates_win:
        yield from _TRUST_THE_BUNDLE
    above: list[str] = ["/dev/"]
    for each in staged:
        target = each.mount.target
        if not target.startswith(tuple(above)):
            yield Stub(path=target, data=None if each.directory else b"")
        above.append(f"{target.rstrip('/')}/")


def _check_system_directories(inside: ConfinedRoot) -> None:
    for path in _SYSTEM:
        found = inside.stat(path, follow=False)
        if found is None or not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _attach_aside(
    staged: StagedMount, path: Path, stack: ExitStack, shifted: ShiftedFiles | None
) -> Path:
    if staged.directory:
        path.mkdir()
    else:
        path.touch()
    with ConfinedRoot(path.parent) as inside:
        mounts.attach_mount(staged, f"/{path.name}", inside, stack, shifted=shifted)
    stack.callback(kernel.unmount, path)
    return path


def _make_own_targets(
    spec: ContainerSpec, inside: ConfinedRoot, stack: ExitStack, shifted: ShiftedFiles | None
) -> None:
    """Make what the container itself mounts onto, in a root that is a mount of the user's."""
    for path in _SYSTEM:
        mounts.make_target(path, inside, stack, directory=True, shifted=shifted)
    for path in _own_files(spec):
        mounts.make_target(path, inside, stack, directory=False, shifted=shifted)


def _own_files(spec: ContainerSpec) -> tuple[str, ...]:
    return ("/etc/resolv.conf", "/etc/hosts", *([INIT] if spec.init else []))


def _show_names(
    spec: ContainerSpec,
    provided: Provided,
    inside: ConfinedRoot,
    state: Path,
    shifted: ShiftedFiles | None,
) -> None:
    resolv_conf = provided.resolv_conf
    if spec.network is not None:
        resolv_conf = state / "resolv.conf"
        resolv_conf.write_bytes(spec.network.resolv_conf)
    hosts = state / "hosts"
    own = ("127.0.0.1", f"localhost {spec.hostname}")
    rows = (own, ("::1", "localhost ip6-localhost ip6-loopback"), *spec.hosts)
    hosts.write_text("".join(f"{address}\t{name}\n" for address, name in rows))
    for source, target in ((resolv_conf, "/etc/resolv.conf"), (hosts, "/etc/hosts")):
        mounts.attach_file(source, target, inside, shifted=shifted)
