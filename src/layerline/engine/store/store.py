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
from layerline.engine.store.disk_errors import Demand, is_disk_full, no_space, storage_error
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.flatten import flatten
from layerline.engine.store.format import FORMAT, VERSION_FILE, has_store
from layerline.engine.store.index import Index
from layerline.engine.store.locks import Locks
from layerline.engine.store.ownership import record_owner
from layerline.engine.store.rmtree import discard_tree
from layerline.engine.store.snapshots import Snapshots
from layerline.engine.store.top_file import layer_of_file
from layerline.engine.store.tree import Tree
from layerline.engine.store.usage import Sizes
from layerline.engine.store.volumes import Volumes
from layerline.kernel import sync_directory
from layerline.replacement import creating

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerline.engine.store.promise import Supplier

SESSIONS = "sessions"  # the lock that sessions share, exclusive for pruning
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
        with contextlib.ExitStack() as stack:
            try:
                store = cls._open(root, stack, boot or _BOOT_ID.read_text().strip())
            except OSError as exc:
                raise storage_error(exc, "cannot open the store", root, store=root) from exc
            try:
                yield store
            except BaseException:
                store.snapshots.abandon()
                raise

    @classmethod
    def _open(cls, root: Path, stack: contextlib.ExitStack, boot: str) -> Store:
        _prepare(root)
        locks = stack.enter_context(contextlib.closing(Locks(root)))
        stack.enter_context(locks.shared(SESSIONS))
        scratch = stack.enter_context(_session(root / "scratch", locks))
        store = cls(root, scratch, locks, boot)
        stack.callback(store.index.close)
        stack.callback(store.snapshots.close)
        return store

    def tree(self, names: Sequence[str], file: str = "") -> Tree:
        """The merged view of snapshots, bottom first; without any, an empty directory.

        Who reads but the file at the path `file` may get the one that has it alone. Raises
        NotFetched if files that are only promised cannot be fetched.
        """
        if file and (layer := layer_of_file(self.snapshots, names, file)) is not None:
            names = [layer]
        self.snapshots.require(names)
        return Tree(tuple(map(self.snapshots.path, names)) or (self.root / "empty",))

    def flatten(self, names: Sequence[str]) -> str:
        """One snapshot that can replace several, bottom first, in any stack."""
        name = "flat-" + digest_of(list(names))
        if not self.snapshots.has(name):
            self.snapshots.require(names)
            with self.snapshots.draft() as draft:
                flatten([self.snapshots.path(each) for each in names], draft.fs)
                draft.commit(name)
        return name

    def supply(self, supplier: Supplier) -> None:
        """Let missing blobs and promised snapshots be fetched."""
        self.blobs.supplier = self.snapshots.supplier = supplier

    def require_space(self, what: str, written: Path | None) -> None:
        """Raise NoSpace if the disk is full, as the reason why `what` failed or may have.

        `written` is what it has written so far.
        """
        if is_disk_full(self.root):
            size = None if written is None else Sizes().of(written)
            raise no_space(what, self.root, Demand(written=size), store=self.root)

    def settle(self) -> None:
        """Wait until everything recorded so far is on disk."""
        self.snapshots.settle()


def _prepare(root: Path) -> None:
    """Refuse a directory that is not a store of this version; create what is missing."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not has_store(root):
        root.chmod(0o700)
        record_owner(root)
        _write_version(root / VERSION_FILE)
    for name in ("blobs", "snapshots", "volumes", "scratch"):
        (root / name).mkdir(mode=0o700, exist_ok=True)
    empty = root / "empty"
    empty.mkdir(mode=0o755, exist_ok=True)
    empty.chmod(0o755)
    os.utime(empty, (EPOCH, EPOCH))


def _write_version(version: Path) -> None:
    """Create the file once: another process may have it open already, for its locks."""
    with contextlib.suppress(FileExistsError), creating(version) as file:
        file.write(FORMAT.encode())
        file.flush()
        os.fsync(file.fileno())
    sync_directory(version.parent)


@contextlib.contextmanager
def _session(root: Path, locks: Locks) -> Iterator[Path]:
    """Yield a scratch directory of this session, kept while its lock is held."""
    sweep(root, locks)
    place = root / f"{os.getpid()}-{secrets.token_hex(4)}"
    with locks.exclusive(_lock_of(place)):
        try:
            place.mkdir(mode=0o700)
            yield place
        finally:
            discard_tree(place)


def sweep(root: Path, locks: Locks) -> None:
    """Remove the scratch directories of sessions that died, and what is left of pruning."""
    for place in list(root.iterdir()) if root.is_dir() else []:
        with locks.try_exclusive(_lock_of(place)) as dead:
            if dead:
                discard_tree(place)


def _lock_of(scratch: Path) -> str:
    return f"scratch {scratch.name}"
