"""Imports a directory of the host into the store, fast if little has changed since the last time.

Invariant: the same content has the same snapshot. Changes are detected by mode, size, times and
inode; a file that changed just before the walk is read again the next time.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.blobs import CHUNK
from layerline.engine.store.cancellation import check_cancelled
from layerline.engine.store.digest import canonical, digest_of, parse_digest
from layerline.engine.store.file_metadata import NANOSECONDS
from layerline.engine.store.hostwalk import Handles, Observation, open_root, walk
from layerline.engine.store.import_digests import import_name, record_directories
from layerline.engine.store.tree_digest import Part, combine, header
from layerline.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from layerline.engine.store.store import Store
    from layerline.patterns import PathPredicate

_TABLE = "import"
_CLOCK_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2 * NANOSECONDS
_READ_TWICE_BYTES = 256 << 20
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_ROOT = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """The snapshot of a directory of the host, and the digest of its content."""

    snapshot: str
    digest: str


def ingest(
    store: Store,
    root: Path,
    *,
    path_filter: PathPredicate | None = None,
    remember: bool = True,
) -> Ingested:
    """Import the kept paths of a directory. Modes and times are kept, owners become root.

    Without `remember` every file is read: for a directory whose path means another one next time.
    """
    began = time.time_ns()
    with open_root(root) as handle, contextlib.closing(Handles(handle)) as handles:
        observations = walk(handle, path_filter)
        if not remember:
            work = _Import(store, root, handles, observations, _LastImport())
            return work.by_content() or work.by_copy()
        walk_digest = _walk_digest(root, os.fstat(handle).st_dev, observations)
        done = store.index.get(_TABLE, walk_digest)
        if done is not None:
            return Ingested(snapshot=str(done["snapshot"]), digest=str(done["digest"]))
        work = _Import(store, root, handles, observations, _load_last(store, root))
        result = work.by_content() or work.by_copy()
        work.unsettled.update(
            each.path for each in observations if each.is_file and _may_still_change(each, began)
        )
    _remember(store, root, walk_digest, result, work)
    return result


@dataclass(frozen=True, slots=True)
class _LastImport:
    """The last import of the same root: the state and content digest of each file."""

    snapshot: str = ""
    files: Mapping[str, tuple[list[int], str]] = field(default_factory=dict)

    def payload(self, entry: Observation) -> bytes | None:
        """The content digest of a file, or None if it has changed since."""
        state, digest = self.files.get(entry.path, ([], ""))
        return bytes.fromhex(digest) if state == entry.state else None


class _Import:
    """One import that is not in the index."""

    def __init__(
        self,
        store: Store,
        root: Path,
        handles: Handles,
        observations: list[Observation],
        last: _LastImport,
    ) -> None:
        self._store = store
        self._root = root
        self._handles = handles
        self._last = last
        self.observations = observations
        self.payloads: dict[str, bytes] = {}
        self.directories: dict[str, str] = {}
        self.unsettled: set[str] = set()

    def by_content(self) -> Ingested | None:
        """Read the changed files; often only their times have changed and the snapshot exists."""
        changed = [
            each for each in self.observations if each.is_file and self._last.payload(each) is None
        ]
        if not self._last.snapshot or sum(each.size for each in changed) > _READ_TWICE_BYTES:
            return None
        try:
            result = self._result(self._part(each, None) for each in self.observations[1:])
        except OSError as exc:
            if exc.errno in _GONE:
                return None
            raise
        return result if self._store.snapshots.has(result.snapshot) else None

    def by_copy(self) -> Ingested:
        """Create a snapshot; unchanged files are shared with the last one."""
        needed = sum(each.size for each in self.observations if each.is_file)
        with self._store.snapshots.draft(f"the import of {self._root}", needed=needed) as draft:
            parts: list[Part] = []
            for each in self.observations[1:]:
                try:
                    parts.append(self._part(each, f"{draft.fs}/{each.path}"))
                except OSError as exc:
                    if exc.errno not in _GONE:  # removed since the walk
                        raise
            for each in reversed(self.observations):
                if each.is_dir:
                    _apply_metadata(f"{draft.fs}/{each.path}", each)
            result = self._result(parts)
            draft.commit(
                result.snapshot, {path: each.hex() for path, each in self.payloads.items()}
            )
            return result

    def _result(self, parts: Iterable[Part]) -> Ingested:
        root = _entry_header(self.observations[0].mode)
        digest = combine(root, list(parts), directories=self.directories)
        return Ingested(snapshot=import_name(digest), digest=digest)

    def _part(self, entry: Observation, place: str | None) -> Part:
        """An entry's part of the digest; with `place`, the entry is also copied there."""
        check_cancelled()
        if entry.is_dir:
            if place is not None:
                Path(place).mkdir()
            return entry.path, _entry_header(entry.mode), None
        if entry.is_file:
            return entry.path, _entry_header(entry.mode), self._file(entry, place)
        target = self._handles.target(entry.path)
        if place is not None:
            Path(place).symlink_to(target)
            os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
        return entry.path, _entry_header(stat.S_IFLNK), hashlib.sha256(os.fsencode(target)).digest()

    def _file(self, entry: Observation, place: str | None) -> bytes:
        payload = self._last.payload(entry)
        if payload is None or (place is not None and not self._try_link(entry, place)):
            payload = self._read_file(entry, place)
        self.payloads[entry.path] = payload
        return payload

    def _try_link(self, entry: Observation, place: str) -> bool:
        """Link the file of the last snapshot if its metadata is the same; whether it was linked."""
        origin = f"{self._store.snapshots.path(self._last.snapshot)}/{entry.path}"
        try:
            info = os.lstat(origin)
            if (info.st_mode, info.st_mtime_ns) != (entry.mode, entry.mtime_ns):
                return False
            os.link(origin, place, follow_symlinks=False)
        except OSError:  # no such file, too many links: copying always works
            return False
        return True

    def _read_file(self, entry: Observation, place: str | None) -> bytes:
        hasher = hashlib.sha256()
        handle = self._handles.open(entry.path)
        with os.fdopen(handle, "rb", buffering=0) as source, contextlib.ExitStack() as stack:
            copy = None
            if place is not None:
                copy = stack.enter_context(Path(place).open("xb", buffering=0))
            while data := source.read(CHUNK):
                check_cancelled()
                hasher.update(data)
                if copy is not None:
                    copy.write(data)
            if Observation.of(entry.path, os.fstat(handle)) != entry:
                self.unsettled.add(entry.path)
            if copy is not None:
                os.fchmod(copy.fileno(), stat.S_IMODE(entry.mode))
                os.utime(copy.fileno(), ns=(entry.mtime_ns, entry.mtime_ns))
        return hasher.digest()


@functools.lru_cache(maxsize=1024)
def _entry_header(mode: int) -> bytes:
    return header(mode, _ROOT, {})


def _apply_metadata(place: str, entry: Observation) -> None:
    Path(place).chmod(stat.S_IMODE(entry.mode))
    os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns))


def _may_still_change(entry: Observation, began: int) -> bool:
    """Whether the file may change once more without a visible change of its times."""
    coarse = entry.mtime_ns % NANOSECONDS == 0 and entry.ctime_ns % NANOSECONDS == 0
    tick = _COARSE_TICK_NS if coarse else _CLOCK_TICK_NS
    return max(entry.mtime_ns, entry.ctime_ns) > began - tick


def _walk_digest(root: Path, device: int, observations: list[Observation]) -> str:
    """The digest of a walk's observations; equal digests mean equal content."""
    hasher = hashlib.sha256(os.fsencode(f"{root}\0{device}\0"))
    for each in observations:
        state = each[:2] if each.is_dir else tuple(each)
        hasher.update(ascii(state).encode())
    return hasher.hexdigest()


def _latest_key(root: Path) -> str:
    return digest_of(["latest", str(root)])


def _load_last(store: Store, root: Path) -> _LastImport:
    row = store.index.get(_TABLE, _latest_key(root))
    if row is None:
        return _LastImport()
    try:
        files = json.loads(store.blobs.read(parse_digest(str(row["manifest"]))))
    except StoreDamaged:
        return _LastImport()
    return _LastImport(str(row["snapshot"]), files)


def _remember(store: Store, root: Path, walk_digest: str, result: Ingested, work: _Import) -> None:
    files = {
        each.path: (each.state, work.payloads[each.path].hex())
        for each in work.observations
        if each.path in work.payloads and each.path not in work.unsettled
    }
    row: dict[str, object] = {"snapshot": result.snapshot, "digest": result.digest}
    if not work.unsettled:
        store.index.put(_TABLE, walk_digest, row, snapshots=(result.snapshot,))
    record_directories(store, result.snapshot, work.directories)
    manifest = store.blobs.put(canonical(files))
    latest = {**row, "manifest": manifest.digest}
    store.index.put(_TABLE, _latest_key(root), latest, snapshots=(result.snapshot,))
