"""The store: one directory for all results, shared by every run on this machine.

Invariant: whatever another process does, and wherever it dies, the store opens and every item it
returns is complete.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.blobs import Blobs
from layerline.engine.store.digest import digest_of
from layerline.engine.store.durable import write_file
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.flatten import flatten
from layerline.engine.store.index import Index
from layerline.engine.store.locks import ANCHOR, Locks
from layerline.engine.store.rmtree import discard_tree
from layerline.engine.store.snapshots import Snapshots
from layerline.engine.store.tree import Tree
from layerline.engine.store.volumes import Volumes
from layerline.errors import NoSpace, StoreVersion
from layerline.kernel import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = "layerline store 1\n"
SESSIONS = "sessions"  # the lock that sessions share, exclusive for pruning
# A call writes its log here, even if it fails before it opens the store.
_ALLOWED_NAMES = {"lost+found", "logs"}
_FULL_BYTES = 1 << 20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Store:
    """An open store: use `with Store.open(root) as store`.

    `scratch` is this session's own directory, on the same file system.
    """

    def __init__(self, root: Path, scratch: Path, locks: Locks, boot: str) -> None:
        self.root = root
        self.scratch = scratch
        self.locks = locks
        self.blobs = Blobs(root / "blobs", scratch)
        self.snapshots = Snapshots(root / "snapshots", scratch, boot)
        self.volumes = Volumes(root / "volumes", scratch, self.locks)
        self.index = Index(root / "index.db", self.locks, self.snapshots.has, self.snapshots.use)

    @classmethod
    @contextlib.contextmanager
    def open(cls, root: Path, *, boot: str | None = None) -> Iterator[Store]:
        """Open or create the store; on exit, everything recorded is durable.

        `boot` replaces the boot id of the running kernel.
        """
        _prepare(root)
        with (
            contextlib.closing(Locks(root)) as locks,
            locks.shared(SESSIONS),
            _session(root / "scratch", locks) as scratch,
        ):
            store = cls(root, scratch, locks, boot or _BOOT_ID.read_text().strip())
            try:
                yield store
            finally:
                store.snapshots.close()
                store.index.close()

    def tree(self, names: Sequence[str]) -> Tree:
        """The merged view of snapshots, bottom first; without any, an empty directory."""
        return Tree(tuple(map(self.snapshots.path, names)) or (self.root / "empty",))

    def flatten(self, names: Sequence[str]) -> str:
        """One snapshot that can replace several, bottom first, in any stack."""
        name = "flat-" + digest_of(list(names))
        if not self.snapshots.has(name):
            with self.snapshots.draft() as draft:
                flatten([self.snapshots.path(each) for each in names], draft.fs)
                draft.commit(name)
        return name

    def require_space(self, what: str) -> None:
        """Raise NoSpace if the disk is full, as the reason why `what` failed."""
        disk = os.statvfs(self.root)
        if disk.f_bfree * disk.f_frsize < _FULL_BYTES or (disk.f_files and not disk.f_ffree):
            message = (
                f"{what} failed: no space left on the device of the store {self.root}: "
                "free some space, or set LAYERLINE_STORE to another disk"
            )
            raise NoSpace(message)

    def settle(self) -> None:
        """Wait until everything recorded so far is on disk."""
        self.snapshots.settle()


def _prepare(root: Path) -> None:
    """Refuse a directory that is not a store of this version; create what is missing."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    version = root / ANCHOR
    try:
        found = version.read_text()
    except FileNotFoundError:
        _refuse_foreign(root)
        root.chmod(0o700)
        _write_version(version)
    else:
        if found != FORMAT:
            message = (
                f"unsupported store version {found[:40]!r} in {root}, expected {FORMAT!r}: "
                "use the Layerline that created it, or set LAYERLINE_STORE to another directory"
            )
            raise StoreVersion(message)
    for name in ("blobs", "snapshots", "volumes", "scratch"):
        (root / name).mkdir(mode=0o700, exist_ok=True)
    empty = root / "empty"
    empty.mkdir(mode=0o755, exist_ok=True)
    empty.chmod(0o755)
    os.utime(empty, (EPOCH, EPOCH))


def _refuse_foreign(root: Path) -> None:
    names = {path.name for path in root.iterdir() if not path.name.startswith("version.")}
    if names - _ALLOWED_NAMES:
        message = (
            f"{root} is not empty and is not a Layerline store: "
            "set LAYERLINE_STORE to another directory"
        )
        raise StoreVersion(message)


def _write_version(version: Path) -> None:
    """Create the file once: another process may have it open already, for its locks."""
    part = version.with_name(f"{ANCHOR}.{secrets.token_hex(8)}")
    try:
        write_file(part, FORMAT.encode(), part=part)
        with contextlib.suppress(FileExistsError):
            os.link(part, version)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(version.parent)


@contextlib.contextmanager
def _session(root: Path, locks: Locks) -> Iterator[Path]:
    """Yield a scratch directory of this session, kept while its lock is held."""
    _sweep(root, locks)
    place = root / f"{os.getpid()}-{secrets.token_hex(4)}"
    with locks.exclusive(_lock_of(place)):
        try:
            place.mkdir(mode=0o700)
            yield place
        finally:
            discard_tree(place)


def _sweep(root: Path, locks: Locks) -> None:
    """Remove the directories of sessions that died."""
    for place in list(root.iterdir()):
        with locks.try_exclusive(_lock_of(place)) as dead:
            if dead:
                discard_tree(place)


def _lock_of(scratch: Path) -> str:
    return f"scratch {scratch.name}"
