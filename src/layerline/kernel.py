"""The system calls that Python's `os` module lacks: namespaces, the new mount API, openat2, syncfs.

Invariant: a call that fails raises OSError with the kernel's number and the path it was about.
The numbers of the newer calls are the same on all architectures.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 1 << 12, 1 << 14, 1 << 18, 1 << 19
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8  # for `attach`

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _MOUNT_SETATTR = 437, 442
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_CLOEXEC = 1  # of fsopen, fsmount
_OPEN_TREE_CLONE = 1
_ATTR_IDMAP = 0x00100000
_CAPABILITIES_VERSION = 0x20080522  # of capget and capset: two words a set
_FROM_EMPTY, _TO_EMPTY = 0x4, 0x40  # move_mount takes descriptors on both sides
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6  # fsconfig
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x01, 0x02, 0x10
_MNT_DETACH = 2
_CAP_SYS_ADMIN = 21
_OVERLAY_OPTIONS = (
    ("redirect_dir", "nofollow"),
    ("metacopy", "off"),
    ("index", "off"),
    ("xino", "off"),
)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, about: str | Path = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(about) or None)
    return result


def _syscall(number: int, *arguments: int | bytes | None, about: str | Path = "") -> int:
    c_arguments = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *c_arguments), about)


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones."""
    _check(_libc.unshare(flags), "unshare")


def enter_namespace(descriptor: int) -> None:
    """Move the calling thread into the namespace that an open file of /proc/*/ns names."""
    _check(_libc.setns(descriptor, 0), "setns")


def die_with_parent(signal: int) -> None:
    """Have `signal` sent to this process when the thread that forked it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def forbid_core_dumps() -> None:
    """Keep the memory of this process out of core files and away from ptrace of other users."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def mount(source: str, target: Path, kind: str | None, flags: int = 0, data: str = "") -> None:
    """Mount a file system at `target`, or change how it passes mounts on."""
    c_arguments = (source.encode(), os.fsencode(target), kind.encode() if kind else None)
    _check(_libc.mount(*c_arguments, ctypes.c_ulong(flags), data.encode()), target)


def unmount(target: Path) -> None:
    """Detach a mount; processes that still use it keep it until they end."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), target)


@contextmanager
def creating_as(identity: int) -> Iterator[None]:
    """Files that this thread creates in the block belong to the user and group `identity`.

    Its capabilities stay effective, which setfsuid(2) would take away. For directories that are
    shown with shifted ids: no file can be made in them by an id that they do not have.
    """
    _libc.setfsuid(ctypes.c_uint(identity))
    _libc.setfsgid(ctypes.c_uint(identity))
    _raise_permitted()
    try:
        yield
    finally:
        _libc.setfsuid(os.geteuid())
        _libc.setfsgid(os.getegid())


def _raise_permitted() -> None:
    header = struct.pack("II", _CAPABILITIES_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    _check(_libc.capget(header, data), "capget")
    _, low, inherited_low, _, high, inherited_high = struct.unpack("6I", data.raw)
    words = struct.pack("6I", low, low, inherited_low, high, high, inherited_high)
    _check(_libc.capset(header, words), "capset")


def sync_directory(path: Path) -> None:
    """Flush the names in a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Flush the file system of `path` to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        _check(_libc.syncfs(descriptor), path)
    finally:
        os.close(descriptor)


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as if `root` were the root directory: no link and no ".." leads out of it."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    return _syscall(_OPENAT2, root, os.fsencode(path), how, len(how), about=path)


def open_in_mount(directory: int, name: str, flags: int) -> int:
    """Open a name in a directory; a mount on it, a bind mount too, fails with EXDEV."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0, _RESOLVE_NO_XDEV)
    return _syscall(_OPENAT2, directory, os.fsencode(name), how, len(how), about=name)


def in_user_namespace() -> bool:
    """Whether the ids of this process are mapped to others of the machine."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]


@functools.cache
def has_trusted_attributes() -> bool:
    """Whether this process may use trusted.* attributes: CAP_SYS_ADMIN in the initial namespace.

    https://man7.org/linux/man-pages/man7/xattr.7.html
    """
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split(maxsplit=1)[0], 16)
    users = Path("/proc/self/uid_map").read_text().split()
    return bool(effective >> _CAP_SYS_ADMIN & 1) and users == ["0", "0", str(2**32 - 1)]


@contextmanager
def descriptor_in_root(root: int, path: str, flags: int, mode: int = 0) -> Iterator[int]:
    """`open_in_root`, closed at the end."""
    descriptor = open_in_root(root, path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def attach(
    source: int,
    target: int,
    *,
    attributes: int = 0,
    recursive: bool = True,
    users: int | None = None,
) -> None:
    """Bind what the descriptor `source` is open on onto what `target` is open on (O_PATH).

    With `users`, a descriptor of a user namespace, files have the owners that they have there.
    """
    deep = _AT_RECURSIVE if recursive else 0
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | deep
    tree = _syscall(_OPEN_TREE, source, b"", flags, about="open_tree")
    try:
        if attributes or users is not None:
            shifted = 0 if users is None else _ATTR_IDMAP
            wanted = struct.pack("QQQQ", attributes | shifted, 0, 0, users or 0)
            flags = _AT_EMPTY_PATH | deep
            _syscall(_MOUNT_SETATTR, tree, b"", flags, wanted, len(wanted), about="mount_setattr")
        _syscall(_MOVE_MOUNT, tree, b"", target, b"", _FROM_EMPTY | _TO_EMPTY, about="move_mount")
    finally:
        os.close(tree)


def mount_overlay(
    lower: Sequence[Path], target: Path, *, upper: Path | None, work: Path | None
) -> None:
    """Mount layers (bottom first) at `target`; without `upper` nothing can be written.

    Layers are added one by one: their number is limited by the kernel (500), not by the page that
    mount(2) takes. Kernels before 6.7 cannot do that.
    """
    try:
        _overlay_by_layer(lower, target, upper, work)
    except OSError as exc:
        if _knows_single_layers():
            raise OSError(exc.errno, f"overlay mount: {exc.strerror}", str(target)) from exc
        mount_overlay_at_once(lower, target, upper=upper, work=work)


def _knows_single_layers() -> bool:
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)))) >= (6, 7)


def _overlay_by_layer(
    lower: Sequence[Path], target: Path, upper: Path | None, work: Path | None
) -> None:
    context = _syscall(_FSOPEN, b"overlay", _CLOEXEC, about="overlay")
    try:
        for key, value in _OVERLAY_OPTIONS:
            _syscall(_FSCONFIG, context, _SET_STRING, key.encode(), value.encode(), 0, about=key)
        if not has_trusted_attributes():
            _syscall(_FSCONFIG, context, _SET_FLAG, b"userxattr", None, 0, about="userxattr")
        for layer in reversed(lower):
            c_arguments = (_SET_STRING, b"lowerdir+", os.fsencode(layer), 0)
            _syscall(_FSCONFIG, context, *c_arguments, about=layer)
        if upper is not None and work is not None:
            for key, path in (("upperdir", upper), ("workdir", work)):
                c_arguments = (_SET_STRING, key.encode(), os.fsencode(path), 0)
                _syscall(_FSCONFIG, context, *c_arguments, about=path)
            _syscall(_FSCONFIG, context, _SET_FLAG, b"volatile", None, 0, about="volatile")
        _syscall(_FSCONFIG, context, _CREATE, None, None, 0, about=target)
        tree = _syscall(_FSMOUNT, context, _CLOEXEC, 0, about=target)
    finally:
        os.close(context)
    try:
        place = os.fsencode(target)
        _syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, place, _FROM_EMPTY, about=target)
    finally:
        os.close(tree)


def mount_overlay_at_once(
    lower: Sequence[Path], target: Path, *, upper: Path | None, work: Path | None
) -> None:
    """`mount_overlay` by mount(2): layers are named by descriptors, since 4 KiB must hold all."""
    with ExitStack() as stack:
        names = []
        for layer in reversed(lower):
            descriptor = os.open(layer, os.O_PATH | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            names.append(f"/proc/self/fd/{descriptor}")
        options = [f"{key}={value}" for key, value in _OVERLAY_OPTIONS]
        options += [] if has_trusted_attributes() else ["userxattr"]
        options.append(f"lowerdir={':'.join(names)}")
        if upper is not None and work is not None:
            options += [f"upperdir={upper}", f"workdir={work}", "volatile"]
        mount("overlay", target, "overlay", 0, ",".join(options))
