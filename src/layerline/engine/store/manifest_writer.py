"""Writes the manifests of snapshots in the background, the session's own first.

Invariant: a session that ends well has verified what it committed. One that is interrupted leaves
snapshots that are not verified; later sessions catch up on them while they run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING

from layerline import log
from layerline.engine.store import manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_NICENESS = 10
_QUIET_SECONDS = 0.5  # before each older snapshot


class ManifestWriter:
    """One thread that writes manifests to the directories of snapshots in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._waiting: deque[tuple[str, Mapping[str, str] | None]] = deque()
        self._changed = threading.Condition()
        self._closed = self._abandoned = False
        self._thread: threading.Thread | None = None

    def add(self, name: str, known: Mapping[str, str] | None = None) -> None:
        """Have the manifest of a snapshot written; `known` are digests of its files by path."""
        with self._changed:
            self._waiting.append((name, known))
            self._changed.notify()
        self.start()

    def start(self) -> None:
        """Begin to write, also for older snapshots that have no manifest."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._serve, name="store-manifests", daemon=True
                )
                self._thread.start()

    def abandon(self) -> None:
        """Write no more manifests: the session was interrupted."""
        self._abandoned = True

    def close(self) -> None:
        """Wait for the manifests of what was added, unless they are abandoned."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def write(
        self,
        name: str,
        known: Mapping[str, str] | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write a manifest now; an error of the disk leaves the snapshot without one."""
        place = self._root / name
        part = place / f"{manifest.NAME}.{secrets.token_hex(8)}"
        try:
            manifest.write_manifest(place / "fs", part, known=known, is_cancelled=is_cancelled)
            part.replace(place / manifest.NAME)
            for left in place.glob(f"{manifest.NAME}.*"):  # of a session that was killed
                left.unlink(missing_ok=True)
        except OSError as exc:  # a full disk, or the snapshot has been removed
            log.debug("no manifest of %s: %s", name, exc)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        older = self._older()
        while True:
            with self._changed:
                quiet = not self._waiting and not self._closed
                if quiet and not self._changed.wait(_QUIET_SECONDS):
                    name = next(older, None)
                    if name is None:
                        self._changed.wait_for(lambda: self._waiting or self._closed)
                else:
                    name = None
                job = self._waiting.popleft() if self._waiting and name is None else None
            if job is not None:
                self.write(*job, is_cancelled=lambda: self._abandoned)
            elif name is not None:
                self.write(name, is_cancelled=lambda: self._closed)
            if self._abandoned or (self._closed and not self._waiting):
                return

    def _older(self) -> Iterator[str]:
        """Snapshots without a manifest."""
        with contextlib.suppress(OSError):
            for place in list(self._root.iterdir()):
                if (place / "fs").is_dir() and not (place / manifest.NAME).exists():
                    yield place.name
