"""Who the users of a container are on the host: its user namespace, and files as it sees them.

As root the ids of a container are shifted to ones that nobody on the host has. Its files keep the
ids that they have in the store: a second mount of the store and of the session's state shows them
shifted (idmapped mounts, below overlayfs Linux 5.19, in memory 6.3; see mount_setattr(2)).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command, kernel, log
from layerline.engine.store.rmtree import discard_tree
from layerline.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Above what useradd, systemd's containers and user databases give away.
BASE, COUNT = 1 << 31, (1 << 31) - 2
# The roots of containers: their users must be able to come here.
PLACE = Path("/run/layerline")
_WAIT = 10.0

Rows = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserIds:
    """Maps of a user namespace: (first inside, first outside, count)."""

    uids: Rows
    gids: Rows

    @property
    def shift(self) -> int:
        """What the host's ids are above the container's."""
        return self.uids[0][1] - self.uids[0][0]


SHIFTED = UserIds(uids=((0, BASE, COUNT),), gids=((0, BASE, COUNT),))


def same_ids() -> UserIds:
    """Each id of this user namespace as itself."""
    return UserIds(uids=_same("uid_map"), gids=_same("gid_map"))


def _same(name: str) -> Rows:
    rows = (line.split() for line in Path("/proc/self", name).read_text().splitlines())
    return tuple((int(first), int(first), int(count)) for first, _, count in rows)


@contextmanager
def user_namespace(ids: UserIds, *unshared: str) -> Iterator[Path]:
    """A process that holds a new user namespace, as its directory in /proc.

    It reads from a pipe of this one, and ends with it, however that ends.
    `unshared` are options of unshare(1) for more namespaces, which belong to it.
    """
    holder = command.start(["unshare", "--user", *unshared, "cat"], stdin=command.PIPE)
    process = Path("/proc", str(holder.pid))
    try:
        deadline = time.monotonic() + _WAIT
        while not _is_apart(process):
            if holder.poll() is not None or time.monotonic() > deadline:
                message = "cannot create a user namespace: see 'layerline doctor'"
                raise HostError(message)
            time.sleep(0.001)
        for name, rows in (("uid_map", ids.uids), ("gid_map", ids.gids)):
            text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)
            (process / name).write_text(text)
        yield process
    finally:
        holder.kill()
        holder.communicate()


def _is_apart(process: Path) -> bool:
    """Whether a process has left the user namespace of this one, and runs what it was to hold."""
    own = Path("/proc/self/ns/user").stat().st_ino
    return (process / "ns/user").stat().st_ino != own and _name(process) == "cat"


def _name(process: Path) -> str:
    return (process / "comm").read_text().strip()


class ShiftedFiles:
    """The session's directories with shifted ids, below `PLACE`."""

    def __init__(self, descriptor: int, place: Path, views: dict[Path, Path]) -> None:
        self.namespace = descriptor
        self._place = place
        self._views = views

    @classmethod
    @contextmanager
    def open(cls, *directories: Path, scratch: Path) -> Iterator[ShiftedFiles | None]:
        """Show the directories; None where the kernel or a file system refuses.

        `scratch` is below one of them, for a trial.
        """
        with ExitStack() as stack:
            try:
                shown = stack.enter_context(cls._open(directories))
                shown.try_overlay(scratch)
            except (OSError, HostError) as exc:
                log.debug("containers have no user namespace: %s", exc)
                shown = None
            yield shown

    @classmethod
    @contextmanager
    def _open(cls, directories: tuple[Path, ...]) -> Iterator[ShiftedFiles]:
        with ExitStack() as stack:
            with user_namespace(SHIFTED) as holder:
                descriptor = os.open(holder / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            place = stack.enter_context(_own_place())
            flags = kernel.MS_NOSUID | kernel.MS_NODEV
            kernel.mount("tmpfs", place, "tmpfs", flags, "mode=0711")
            stack.callback(kernel.unmount, place)
            views: dict[Path, Path] = {}
            for number, directory in enumerate(directories):
                view = place / f"view{number}"
                view.mkdir(mode=0o711)
                show(directory, view, descriptor)
                stack.callback(kernel.unmount, view)
                views[directory] = view
            yield cls(descriptor, place, views)

    def view(self, path: Path) -> Path:
        """The path at which a directory below one of those is shown."""
        for directory, view in self._views.items():
            if path.is_relative_to(directory):
                return view / path.relative_to(directory)
        message = f"{path} is not below a directory that is shown with shifted ids"
        raise ValueError(message)

    def try_overlay(self, scratch: Path) -> None:
        """Write to an overlay over shifted files; raises OSError where that fails."""
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="trial-") as name,
            self.directory("trial") as tree,
        ):
            layers = [Path(name, part) for part in ("lower", "upper", "work")]
            for layer in layers:
                layer.mkdir()
            lower, upper, work = map(self.view, layers)
            with kernel.creating_as(BASE):
                kernel.mount_overlay([lower], tree, upper=upper, work=work)
                try:
                    (tree / "file").touch()
                finally:
                    kernel.unmount(tree)

    @contextmanager
    def directory(self, name: str) -> Iterator[Path]:
        """A new directory in memory that the users of a container can come to."""
        path = self._place / name
        path.mkdir(mode=0o711)
        try:
            yield path
        finally:
            discard_tree(path)


@contextmanager
def _own_place() -> Iterator[Path]:
    """A directory of this session below `PLACE`; those of dead sessions are removed.

    A session holds a lock on its own, as on its cgroup: to remove one that somebody has mounted on
    in another namespace would take the mount away.
    """
    PLACE.mkdir(mode=0o711, exist_ok=True)
    for each in PLACE.iterdir():
        _remove_unless_locked(each)
    while True:
        place = PLACE / uuid.uuid4().hex[:12]
        place.mkdir(mode=0o711)
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            break
        os.close(lock)  # removed by another start before it was locked
    try:
        yield place
    finally:
        with suppress(OSError):
            place.rmdir()
        os.close(lock)


def _remove_unless_locked(place: Path) -> None:
    with suppress(OSError):  # it is locked, or mounted on here
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            place.rmdir()
        finally:
            os.close(lock)


def show(directory: Path, view: Path, namespace: int) -> None:
    """Mount a directory at `view` with the ids of a user namespace."""
    source = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        target = os.open(view, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kernel.attach(source, target, recursive=False, users=namespace)
        finally:
            os.close(target)
    finally:
        os.close(source)
