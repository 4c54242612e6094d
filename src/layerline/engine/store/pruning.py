"""Removes items from the store, least recently used first.

Invariant: nothing that a session uses is removed: sessions and pruning exclude each other. A layer
or volume is renamed out of the store before it is deleted, so an interruption leaves no partial
item. Nothing is created: pruning works on a full disk.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import time
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.store.disk_errors import storage_error
from layerline.engine.store.format import has_store
from layerline.engine.store.index import Index
from layerline.engine.store.locks import Locks
from layerline.engine.store.mountpoints import mount_points_below
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.store import SESSIONS, sweep
from layerline.engine.store.usage import Item, list_items, places
from layerline.errors import NoSpace, StoreBusy, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path


def choose(
    found: list[Item], *, keep_bytes: int | None, keep_seconds: float | None, now: float
) -> list[Item]:
    """The layers and blobs to remove: unused for `keep_seconds`, until `keep_bytes` is reached.

    Volumes are users' caches and are removed only by name.
    """
    mine = [item for item in found if item.kind != "volume"]
    total = sum(item.size for item in mine)
    chosen = []
    for item in sorted(mine, key=lambda item: item.used):
        if keep_seconds is not None and now - item.used < keep_seconds:
            break
        if keep_bytes is not None and total <= keep_bytes:
            break
        chosen.append(item)
        total -= item.size
    return chosen


def prune(
    root: Path,
    *,
    keep_bytes: int | None = None,
    keep_seconds: float | None = None,
    volumes: Collection[str] = (),
    dry_run: bool = False,
    timeout: float = 5.0,
) -> list[Item]:
    """Remove items by size and age, or the named volumes, and return the removed items.

    `volumes` are names of directories. `timeout` is how long to wait for sessions, in seconds.
    """

    def select(found: list[Item]) -> list[Item]:
        if volumes:
            return [item for item in found if item.kind == "volume" and item.name in volumes]
        return choose(found, keep_bytes=keep_bytes, keep_seconds=keep_seconds, now=time.time())

    if dry_run:
        with _explained(root):
            return select(list_items(root)) if has_store(root) else []
    return prune_selected(root, select, timeout=timeout)


def prune_selected(
    root: Path, select: Callable[[list[Item]], list[Item]], *, timeout: float
) -> list[Item]:
    """Remove the items that `select` chooses, and return them, while no session is open.

    Raises StoreBusy if sessions are still open after `timeout` seconds.
    """
    with _explained(root):
        if not has_store(root):
            return []
        with contextlib.closing(Locks(root)) as locks, _alone(root, locks, timeout):
            sweep(root / "scratch", locks)
            chosen = select(list_items(root))
            _remove(root, chosen)
            if chosen:
                _forget(root, locks)
            return chosen


def _remove(root: Path, chosen: list[Item]) -> None:
    """Remove items. Blobs go first: after them, a full disk has space for the names of others."""
    mounts = mount_points_below(root)
    kept = [mount for mount in mounts if any(item.place in mount.parents for item in chosen)]
    for item in sorted(chosen, key=lambda item: item.kind):
        if item.kind == "blob" and not item.place.is_dir():
            item.place.unlink()
        elif not any(item.place in mount.parents for mount in kept):
            gone = root / "scratch" / f"pruned-{secrets.token_hex(8)}"
            item.place.rename(gone)
            remove_tree(gone)
    if kept:
        message = (
            f"cannot remove what {kept[0]} is mounted in: "
            f"unmount it with 'umount {shlex.quote(str(kept[0]))}'; everything else was removed"
        )
        raise StoreError(message)


def _forget(root: Path, locks: Locks) -> None:
    """Drop the rows of the index that depend on removed layers."""
    existing = {place.name for place in places(root, "snapshot")}
    try:
        index = Index(root / "index.db", locks, existing.__contains__)
        try:
            index.forget_lost()
        finally:
            index.close()
    except NoSpace as exc:  # without its layers, a row is a miss
        log.debug("rows of removed layers stay in the index: %s", exc)


@contextlib.contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise storage_error(exc, "failed to prune the store", root, store=root) from exc


@contextlib.contextmanager
def _alone(root: Path, locks: Locks, timeout: float) -> Iterator[None]:
    """Keep sessions out; wait up to `timeout` seconds for those that run."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.exclusive(SESSIONS, timeout))
        except StoreBusy as exc:
            message = f"the store {root} is in use: prune it when no build or session is running"
            raise StoreBusy(message) from exc
        yield
