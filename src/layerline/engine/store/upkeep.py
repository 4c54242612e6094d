"""What is done about the disk around a session: a forecast before it, pruning after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from layerline.engine.store.auto_pruning import prune_automatically
from layerline.engine.store.digest import digest_of
from layerline.engine.store.forecast import remember_usage, require_room
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from layerline.log import Journal
    from layerline.settings import Settings
    from layerline.storage import Storage


class Upkeep:
    """The upkeep of one call, which is known by its working directory and its command line.

    Raises NoSpace if its last run shows that it cannot fit on the disk.
    """

    def __init__(self, settings: Settings, workdir: Path, arguments: Sequence[str]) -> None:
        self._settings = settings
        self._call = digest_of([str(workdir), *arguments])
        self._began = time.time()
        if settings.storage.forecast:
            require_room(settings.store, self._call, settings.config)

    def finish(
        self, snapshots: Collection[str], journal: Journal, asked: Storage | None = None
    ) -> None:
        """Record what the call has used, these snapshots among it; prune the store, and say so.

        `asked` is how much the call itself wants to be kept, if it wants pruning.
        """
        settings, began = self._settings, self._began
        remember_usage(settings.store, self._call, snapshots, since=began)
        pruned = prune_automatically(settings.store, asked or settings.storage, since=began)
        if pruned is None:
            if asked:
                reason = "nothing but what this session used, or another session is open"
                journal.step(f"prune the store: removed nothing: {reason}").end()
            return
        what = f"{len(pruned.items)} items that were used longest ago, {format_size(pruned.size)}"
        if pruned.first and not asked:
            what += (
                f"; layers and blobs may take {format_size(pruned.limit)}: "
                f"set keep_storage in [storage] of {settings.config}, or 'off'"
            )
        journal.step(f"prune the store: removed {what}").end()
