"""Fetches the files of a step while another machine may still turn out to run it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.store.cancellation import cancelled_by
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.store.store import Store

_LOOK_SECONDS = 0.1


@dataclass(slots=True, kw_only=True, eq=False)
class FetchAhead:
    """Snapshots that a thread fetches after `start`; call `finish` or `drop` afterwards."""

    store: Store
    names: Sequence[str]
    _cancel: threading.Event = field(default_factory=threading.Event)
    _failure: LayerlineError | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, once, if something is not in the store."""
        if self._thread is None and not all(map(self.store.snapshots.is_here, self.names)):
            self._thread = threading.Thread(target=self._fetch, name="cache-ahead", daemon=True)
            self._thread.start()

    def finish(self, cancel: threading.Event) -> None:
        """Wait for the files. Raises NotFetched, or Cancelled once `cancel` is set."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_LOOK_SECONDS)
            if cancel.is_set():
                self._cancel.set()
        if self._failure is not None:
            raise self._failure

    def drop(self) -> None:
        """End: the files are not needed."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()

    def _fetch(self) -> None:
        try:
            with cancelled_by(self._cancel):
                self.store.snapshots.require(self.names)
        except LayerlineError as exc:
            self._failure = exc
