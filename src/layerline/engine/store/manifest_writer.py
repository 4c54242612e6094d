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
    """Writes manifests to the directories of snapshots in `root`.

    One thread writes those of the session, for whose end `close` waits, another those of older
    snapshots, which nobody waits for: it has a low priority, and begins when the first is idle.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._waiting: deque[tuple[str, Mapping[str, str] | None]] = deque()
        self._changed = threading.Condition()
        self._busy = self._closed = self._abandoned = False
        self._threads: dict[str, threading.Thread] = {}
        self._files = manifest.KnownFiles()

    def add(self, name: str, known: Mapping[str, str] | None = None) -> None:
        """Have the manifest of a snapshot written; `known` are digests of its files by path."""
        with self._changed:
            self._waiting.append((name, known))
            self._changed.notify_all()
        self._run("store-manifests", self._serve)
        self.start()

    def start(self) -> None:
        """Begin to write those of older snapshots that have no manifest."""
        self._run("store-older-manifests", self._catch_up)

    def forget_files(self) -> None:
        """Read all files again from now on: a layer was removed, whose inodes others may get."""
        self._files.forget()

    def abandon(self) -> None:
        """Write no more manifests: the session was interrupted."""
        self._abandoned = True

    def close(self) -> None:
        """Wait for the manifests of what was added, unless they are abandoned."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads.values():
            thread.join()

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
            manifest.write_manifest(
                place / "fs", part, known=known, files=self._files, is_cancelled=is_cancelled
            )
            part.replace(place / manifest.NAME)
            for left in place.glob(f"{manifest.NAME}.*"):  # of a session that was killed
                left.unlink(missing_ok=True)
        except OSError as exc:  # a full disk, or the snapshot has been removed
            log.debug("no manifest of %s: %s", name, exc)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _run(self, name: str, work: Callable[[], None]) -> None:
        with self._changed:
            if name not in self._threads and not self._closed:
                self._threads[name] = threading.Thread(target=work, name=name, daemon=True)
                self._threads[name].start()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._abandoned or not self._waiting:
                    return
                job = self._waiting.popleft()
                self._busy = True
            self.write(*job, is_cancelled=lambda: self._abandoned)

    def _catch_up(self) -> None:
        # Not for the other thread: one that waits for the processor while it holds Python's lock
        # lets all threads wait.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        older = self._older()
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, _QUIET_SECONDS):
                    return
                if self._waiting or self._busy:
                    continue
            name = next(older, None)
            if name is None:
                return
            self.write(name, is_cancelled=lambda: self._closed)

    def _older(self) -> Iterator[str]:
        """Snapshots without a manifest."""
        with contextlib.suppress(OSError):
            for place in list(self._root.iterdir()):
                if (place / "fs").is_dir() and not (place / manifest.NAME).exists():
                    yield place.name
