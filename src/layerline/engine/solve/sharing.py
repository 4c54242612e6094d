"""Which results are shared with other machines, and how their rows look there.

Invariant: nothing is sent of a step that was given a secret, a socket, the session or a GPU, nor of
a step above such a one: its layers are in the others' trees.
"""

from __future__ import annotations

import fnmatch
import json
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.cache.adoption import keeps_name
from layerline.engine.cache.outgoing import Outgoing
from layerline.engine.cache.placement import Placement, recognise_layer
from layerline.engine.solve import ops
from layerline.engine.solve.container_stage import written_to_mounts
from layerline.engine.solve.fetch_ahead import FetchAhead
from layerline.engine.solve.keys import children, ops_in
from layerline.engine.solve.labels import describe
from layerline.engine.solve.serialization import snapshots_in
from layerline.engine.solve.service_definitions import ServiceDefinition
from layerline.engine.store.digest import parse_digest
from layerline.engine.store.import_digests import is_import
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from layerline.engine.solve.keys import Keyed
    from layerline.engine.solve.result import Result
    from layerline.engine.solve.step_context import SolveContext
    from layerline.engine.store.index import Document

_TABLE = "result"
_HASHED = "--require-hashes"


@dataclass(slots=True, kw_only=True, eq=False)
class Sharing:
    """What one session shares of its results. Safe for threads."""

    context: SolveContext
    _private: dict[str, bool] = field(default_factory=dict)
    _built: dict[str, bool] = field(default_factory=dict)
    _guarded: set[bytes] = field(default_factory=set)
    _clean: set[str] = field(default_factory=set)
    _leased: dict[str, str] = field(default_factory=dict)

    def find(self, op: ops.Op, key: str) -> bool:
        """Look in the cache for the result of an op; whether the store has its row now."""
        shared = self.context.shared
        worth = shared is not None and _any(op, _is_built, self._built)
        return worth and shared is not None and shared.find(_TABLE, key)

    def wait_lease(
        self, op: ops.Op, key: str, inputs: Mapping[str, Result], cancel: threading.Event
    ) -> bool:
        """Wait while another machine builds what starts a container, if its result is shared.

        Whether the store has the row now; if not, call `end_lease` after the build. `key` is the
        identity of the result, `inputs` are those of the op: what is missing of their files is
        fetched meanwhile. Raises NotFetched.
        """
        shared = self.context.shared
        if shared is None or not isinstance(op, ops.Exec) or not self._is_shared(op):
            return False
        below = self._leased_below(op) if self._leased else []
        self._leased[op.key] = key
        ahead = FetchAhead(store=self.context.store, names=_mounted(op, inputs))
        try:
            found = shared.wait_lease(_TABLE, key, describe(op), below, ahead.start, cancel)
            if not found:
                ahead.finish(cancel)
        except LayerlineError:
            self.end_lease(key)
            raise
        finally:
            ahead.drop()
        return found

    def end_lease(self, key: str) -> None:
        """Let other machines build a result, unless it is being sent to them."""
        if self.context.shared is not None:
            self.context.shared.end_lease(_TABLE, key)

    def _leased_below(self, op: ops.Op) -> list[str]:
        """The identities of the next execs that an op is made from, if they were not known."""
        found: list[str] = []
        seen: set[str] = set()
        pending = list(children(op))
        while pending:
            below = pending.pop()
            if below.key in self._leased:
                found.append(self._leased[below.key])
            elif below.key not in seen and not isinstance(below, ops.Exec):
                seen.add(below.key)
                pending += children(below)
        return found

    def offer(self, op: ops.Op, keys: Sequence[str], result: Result, *, replaces: bool) -> None:
        """Have a result sent under its keys, if it may be."""
        shared = self.context.shared
        if shared is None or not shared.is_written or not self._is_shared(op):
            return
        sent = written_to_mounts(op, result) if isinstance(op, ops.Exec) else result
        if sent is None:
            return
        row = sent.document()
        if self.context.journal.masks.holds(json.dumps(row)):
            return
        texts = (sent.stdout.blob, sent.stderr.blob, sent.combined.blob)
        layers = [*sent.layers, *(name for mount in sent.mounts for name in mount)]
        shared.offer(
            Outgoing(
                table=_TABLE,
                keys=keys,
                row=row,
                snapshots=list(dict.fromkeys(layers)),
                sources=(sources := self._sources(op, sent)),
                is_arrangement=bool(sources) and not isinstance(op, ops.Exec),
                blobs=sorted({parse_digest(blob) for blob in texts if blob is not None}),
                secrets=frozenset(self._guarded),
                masked=self.context.journal.masks.forms,
                replaces=replaces,
            )
        )
        shared.use(child.key for child in children(op))
        self._place_source(op, result)

    def _sources(self, op: ops.Op, result: Result) -> frozenset[tuple[str, ...]]:
        """The trees of a result that are files for others, and no part of an image."""
        trees = result.mounts if isinstance(op, ops.Exec) else (result.layers,)
        if isinstance(op, ops.Exec) and _has_output(op):
            trees = (*trees, result.layers[-1:])
        if not (isinstance(op, ops.Exec) or _is_arrangement(op)):
            return frozenset()
        return frozenset(names for names in trees if names and not all(map(keeps_name, names)))

    def _place_source(self, op: ops.Op, result: Result) -> None:
        """Note that a copy has all files of its source, which need not be sent themselves."""
        shared, copied = self.context.shared, self._copied(op, result)
        if shared is None:
            return
        if copied is not None:
            shared.place_source(*copied)
        if not _is_arrangement(op):
            for step in _steps_of(op):
                for name in self._layers_of(step)[-1:]:
                    shared.merge(name, result.layers[-1])

    def recognise(self, op: ops.Op, result: Result) -> None:
        """Know a copy of what another machine has packed by the blob that it came in."""
        copied = None if self.context.shared is None else self._copied(op, result)
        if copied is not None:
            epoch = self.context.settings.source_date_epoch
            names, placement = copied
            if len(names) == 1:
                recognise_layer(self.context.store, names[0], placement, epoch=epoch)

    def _copied(self, op: ops.Op, result: Result) -> tuple[tuple[str, ...], Placement] | None:
        """The layers of a tree that an op copies as it is, and where its files are then."""
        if not isinstance(op, ops.CopyDirectory) or op.is_filtered or not result.layers:
            return None
        layers = self._layers_of(op.source) if op.source_path == "/" != op.path else []
        within = posixpath.normpath(op.path).lstrip("/")
        return (
            (tuple(layers), Placement(layer=result.layers[-1], within=within)) if layers else None
        )

    def _layers_of(self, op: ops.Op) -> list[str]:
        """The layers of a recorded result; none if that is not known."""
        row = self.context.store.index.get(_TABLE, op.key) or {}
        layers = row.get("layers", [])
        return [str(name) for name in layers] if isinstance(layers, list) else []

    def know_content(self, content: ops.Stored, made_by: ops.Op) -> None:
        """A tree that is known by its content alone is shared if what made it is."""
        if not self._has_private(made_by):
            self._clean.add(content.key)
            self._private.pop(content.key, None)

    def _has_private(self, op: ops.Op) -> bool:
        return _any(op, self._is_private, self._private)

    def find_call(self, table: str, key: str) -> bool:
        """Look in the cache for what a function returned, and for the steps that it needs."""
        shared, index = self.context.shared, self.context.store.index
        if shared is None or not shared.find(table, key):
            return False
        made = (index.get(table, key) or {}).get("made", [])
        steps = made if isinstance(made, list) else []
        return all(index.get(_TABLE, step) or shared.find(_TABLE, step) for step in steps)

    def offer_call(self, table: str, key: str, row: Document, values: Sequence[object]) -> None:
        """Have what a function returned sent, if everything may be that is in its `values`."""
        shared = self.context.shared
        if shared is None or not shared.is_written:
            return
        if self.context.journal.masks.holds(json.dumps(row)):
            return
        trees = [op for value in values for op in ops_in(value)]
        if any(self._has_private(op) for op in trees if isinstance(op, ops.Op)):
            return
        names = sorted(set(snapshots_in(row)))
        shared.offer(
            Outgoing(
                table=table,
                keys=(key,),
                row=row,
                snapshots=[name for name in names if keeps_name(name)],
                needs=tuple(name for name in names if not keeps_name(name)),
            )
        )

    def _is_shared(self, op: ops.Op) -> bool:
        """Whether a result is worth sending and may be sent.

        What has neither an exec nor an image below is made of small files in no time.
        """
        worth = _any(op, _is_built, self._built)
        return worth and not self._has_private(op)

    def _is_private(self, op: Keyed) -> bool:
        match op:
            case ops.Exec():
                given = [ref for _, ref in op.secret_env]
                given += [each.secret for each in op.mounts if isinstance(each, ops.SecretMount)]
                has_socket = any(isinstance(each, ops.SocketMount) for each in op.mounts)
                if has_socket or op.nesting or op.gpus:
                    return True
                return any(self._is_secret(ref, op) for ref in given)
            case ops.Stored():
                has_names = all(keeps_name(name) or is_import(name) for name in op.snapshots)
                return not has_names and op.key not in self._clean
            case ServiceDefinition():
                return bool(op.host)
            case _:
                return False

    def _is_secret(self, ref: ops.SecretRef, op: ops.Exec) -> bool:
        """Whether what was given a secret is not shared.

        An empty one is a place for those of other machines. What only opens downloads is looked for
        in the files before they are sent.
        """
        try:
            value = self.context.secret(ref.identity)
        except LayerlineError:  # of another session
            return True
        access = self.context.settings.cache.access
        if value and any(fnmatch.fnmatchcase(ref.name, pattern) for pattern in access):
            self._guarded.add(value)
            return False
        return bool(value) and _HASHED not in op.argv


def _is_arrangement(op: Keyed) -> bool:
    """Whether an op only arranges files in a directory of its own: that costs no container."""
    while not isinstance(op, ops.Diff | ops.Scratch):
        base = getattr(op, "base", None)
        if base is None:
            return False
        op = base
    return True


def _mounted(op: ops.Exec, inputs: Mapping[str, Result]) -> list[str]:
    """The snapshots that the container of an exec has."""
    mounts = [each for each in op.mounts if isinstance(each, ops.DirectoryMount | ops.FileMount)]
    trees = [op.rootfs, *(each.source for each in mounts)]
    return list(dict.fromkeys(name for each in trees for name in inputs[each.key].layers))


def _has_output(op: ops.Exec) -> bool:
    """Whether an exec was given an empty directory in its root file system, to write files to."""
    return isinstance(op.rootfs, ops.CopyDirectory) and isinstance(op.rootfs.source, ops.Scratch)


def _steps_of(op: ops.Op) -> Iterator[ops.Exec]:
    """The execs whose output a copy has, as they are or arranged with others'."""
    pending = [op.source] if isinstance(op, ops.CopyDirectory) else []
    while pending:
        match pending.pop():
            case ops.ExecRootfs(exec=step) if _has_output(step):
                yield step
            case ops.CopyDirectory(source=source, base=base) as below if _is_arrangement(below):
                pending += [source, base]
            case _:
                pass


def _is_built(op: Keyed) -> bool:
    return isinstance(op, ops.Exec) or (
        isinstance(op, ops.Stored) and bool(op.snapshots) and all(map(keeps_name, op.snapshots))
    )


def _any(op: Keyed, holds: Callable[[Keyed], bool], known: dict[str, bool]) -> bool:
    """Whether something holds for an op or for anything that it is made of."""
    pending: list[Keyed] = [op]
    while pending:
        top = pending[-1]
        below = [] if top.key in known else list(children(top))
        missing = [each for each in below if each.key not in known]
        pending += missing
        if not missing:
            known.setdefault(top.key, holds(top) or any(known[each.key] for each in below))
            pending.pop()
    return known[op.key]
