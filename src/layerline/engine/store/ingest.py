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

from layerline.engine.store.digest import canonical, digest_of, parse_digest
from layerline.engine.store.hostwalk import Handles, Seen, opened, walk
from layerline.engine.store.tree_digest import Part, combine, header
from layerline.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from layerline.engine.store.store import Store
    from layerline.patterns import Wanted

_TABLE = "import"
_CHUNK = 1 << 20
_SECOND_NS = 1_000_000_000
_CLOCK_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2 * _SECOND_NS
_READ_TWICE_BYTES = 256 << 20
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_ROOT = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """The snapshot of a directory of the host, and the digest of its content."""

    snapshot: str
    digest: str


def ingest(store: Store, root: Path, *, wanted: Wanted | None = None) -> Ingested:
    """Import the kept paths of a directory. Modes and times are kept, owners become root."""
    began = time.time_ns()
    with opened(root) as handle, contextlib.closing(Handles(handle)) as handles:
        seen = walk(handle, wanted)
        mark = _mark(root, os.fstat(handle).st_dev, seen)
        done = store.index.get(_TABLE, mark)
        if done is not None:
            return Ingested(snapshot=str(done["snapshot"]), digest=str(done["digest"]))
        work = _Import(store, handles, seen, _known(store, root))
        result = work.by_content() or work.by_copy()
        work.unsettled.update(each.path for each in seen if each.is_file and _fresh(each, began))
    _remember(store, root, mark, result, work)
    return result


@dataclass(frozen=True, slots=True)
class _Known:
    """The last import of the same root: the state and content digest of each file."""

    snapshot: str = ""
    files: Mapping[str, tuple[list[int], str]] = field(default_factory=dict)

    def payload(self, seen: Seen) -> bytes | None:
        """The content digest of a file, or None if it has changed since."""
        state, digest = self.files.get(seen.path, ([], ""))
        return bytes.fromhex(digest) if state == seen.state else None


class _Import:
    """One import that is not in the index."""

    def __init__(self, store: Store, handles: Handles, seen: list[Seen], known: _Known) -> None:
        self._store = store
        self._handles = handles
        self._known = known
        self.seen = seen
        self.payloads: dict[str, bytes] = {}
        self.unsettled: set[str] = set()

    def by_content(self) -> Ingested | None:
        """Read the changed files; often only their times have changed and the snapshot exists."""
        changed = [each for each in self.seen if each.is_file and self._known.payload(each) is None]
        if not self._known.snapshot or sum(each.size for each in changed) > _READ_TWICE_BYTES:
            return None
        try:
            result = self._named(self._part(each, None) for each in self.seen[1:])
        except OSError as exc:
            if exc.errno in _GONE:
                return None
            raise
        return result if self._store.snapshots.has(result.snapshot) else None

    def by_copy(self) -> Ingested:
        """Create a snapshot; unchanged files are shared with the last one."""
        with self._store.snapshots.draft() as draft:
            parts: list[Part] = []
            for each in self.seen[1:]:
                try:
                    parts.append(self._part(each, f"{draft.fs}/{each.path}"))
                except OSError as exc:
                    if exc.errno not in _GONE:  # removed since the walk
                        raise
            for each in reversed(self.seen):
                if each.is_dir:
                    _dress(f"{draft.fs}/{each.path}", each)
            result = self._named(parts)
            draft.commit(result.snapshot)
            return result

    def _named(self, parts: Iterable[Part]) -> Ingested:
        digest = combine(_header(self.seen[0].mode), list(parts))
        return Ingested(snapshot=f"import-{digest}", digest=digest)

    def _part(self, seen: Seen, place: str | None) -> Part:
        """An entry's part of the digest; with `place`, the entry is also copied there."""
        if seen.is_dir:
            if place is not None:
                Path(place).mkdir()
            return seen.path, _header(seen.mode), None
        if seen.is_file:
            return seen.path, _header(seen.mode), self._file(seen, place)
        target = self._handles.target(seen.path)
        if place is not None:
            Path(place).symlink_to(target)
            os.utime(place, ns=(seen.mtime_ns, seen.mtime_ns), follow_symlinks=False)
        return seen.path, _header(stat.S_IFLNK), hashlib.sha256(os.fsencode(target)).digest()

    def _file(self, seen: Seen, place: str | None) -> bytes:
        payload = self._known.payload(seen)
        if payload is None or (place is not None and not self._shared(seen, place)):
            payload = self._read(seen, place)
        self.payloads[seen.path] = payload
        return payload

    def _shared(self, seen: Seen, place: str) -> bool:
        """Link the file of the last snapshot if its metadata is the same; whether it was linked."""
        origin = f"{self._store.snapshots.path(self._known.snapshot)}/{seen.path}"
        try:
            info = os.lstat(origin)
            if (info.st_mode, info.st_mtime_ns) != (seen.mode, seen.mtime_ns):
                return False
            os.link(origin, place, follow_symlinks=False)
        except OSError:  # no such file, too many links: copying always works
            return False
        return True

    def _read(self, seen: Seen, place: str | None) -> bytes:
        hasher = hashlib.sha256()
        handle = self._handles.open(seen.path)
        with os.fdopen(handle, "rb", buffering=0) as source, contextlib.ExitStack() as stack:
            copy = None
            if place is not None:
                copy = stack.enter_context(Path(place).open("xb", buffering=0))
            while data := source.read(_CHUNK):
                hasher.update(data)
                if copy is not None:
                    copy.write(data)
            if Seen.of(seen.path, os.fstat(handle)) != seen:
                self.unsettled.add(seen.path)
            if copy is not None:
                os.fchmod(copy.fileno(), stat.S_IMODE(seen.mode))
                os.utime(copy.fileno(), ns=(seen.mtime_ns, seen.mtime_ns))
        return hasher.digest()


@functools.lru_cache(maxsize=1024)
def _header(mode: int) -> bytes:
    return header(mode, _ROOT, {})


def _dress(place: str, seen: Seen) -> None:
    Path(place).chmod(stat.S_IMODE(seen.mode))
    os.utime(place, ns=(seen.mtime_ns, seen.mtime_ns))


def _fresh(seen: Seen, began: int) -> bool:
    """Whether the file may change once more without a visible change of its times."""
    whole_seconds = seen.mtime_ns % _SECOND_NS == 0 and seen.ctime_ns % _SECOND_NS == 0
    tick = _COARSE_TICK_NS if whole_seconds else _CLOCK_TICK_NS
    return max(seen.mtime_ns, seen.ctime_ns) > began - tick


def _mark(root: Path, device: int, seen: list[Seen]) -> str:
    """The digest of a walk's observations; equal digests mean equal content."""
    hasher = hashlib.sha256(os.fsencode(f"{root}\0{device}\0"))
    for each in seen:
        state = each[:2] if each.is_dir else tuple(each)
        hasher.update(ascii(state).encode())
    return hasher.hexdigest()


def _latest(root: Path) -> str:
    return digest_of(["latest", str(root)])


def _known(store: Store, root: Path) -> _Known:
    row = store.index.get(_TABLE, _latest(root))
    if row is None:
        return _Known()
    try:
        files = json.loads(store.blobs.read(parse_digest(str(row["manifest"]))))
    except StoreDamaged:
        return _Known()
    return _Known(str(row["snapshot"]), files)


def _remember(store: Store, root: Path, mark: str, result: Ingested, work: _Import) -> None:
    files = {
        each.path: (each.state, work.payloads[each.path].hex())
        for each in work.seen
        if each.path in work.payloads and each.path not in work.unsettled
    }
    row: dict[str, object] = {"snapshot": result.snapshot, "digest": result.digest}
    if not work.unsettled:
        store.index.put(_TABLE, mark, row, snapshots=(result.snapshot,))
    manifest = store.blobs.put(canonical(files))
    latest = {**row, "manifest": manifest.digest}
    store.index.put(_TABLE, _latest(root), latest, snapshots=(result.snapshot,))
