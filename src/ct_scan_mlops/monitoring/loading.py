"""Gets the reference and the journal, and tries again until both are there.

Nothing of it is waited for when the process starts: /health answers at once, and /ready says what
is missing. A file that is put in its place later is found without a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import to_thread

from ct_scan_mlops.errors import FeaturesRefused, OutputUnwritable
from ct_scan_mlops.monitoring import reference, statistics
from ct_scan_mlops.monitoring.journal import Journal, open_journal
from ct_scan_mlops.outputs import output_directory
from ct_scan_mlops.web.missing import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ct_scan_mlops.monitoring.reference import Reference
    from ct_scan_mlops.settings import DriftSettings

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0

NO_REFERENCE = (
    "REFERENCE_PATH is not set. Set it to a features_*.json of python -m "
    "ct_scan_mlops.features.extraction, or to a CSV with a column for each feature."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing to compare yet. Nothing is missing as long as the first attempt runs."""

    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watching:
    """A reference, and a journal of what came since."""

    reference: Reference
    journal: Journal


State: TypeAlias = Waiting | Watching


@dataclass(slots=True, kw_only=True, eq=False)
class Loading:
    """The state, which goes from Waiting to Watching once and stays there."""

    settings: DriftSettings
    state: State = Waiting()
    _reference: Reference | None = None

    async def run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self.state = await to_thread.run_sync(self._attempt)
            if isinstance(self.state, Watching):
                break
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        # Observations can come in meanwhile, and the first question for drift waits less.
        await to_thread.run_sync(statistics.load)

    def close(self) -> None:
        if isinstance(self.state, Watching):
            self.state.journal.close()

    def _attempt(self) -> State:
        missing = tuple(self._load_reference())
        try:
            if self._reference is not None:
                journal = open_journal(
                    self.settings.state_dir, self._reference, capacity=self.settings.window
                )
                return Watching(reference=self._reference, journal=journal)
            output_directory(self.settings.state_dir)
        except OutputUnwritable as problem:
            missing += (self.unwritable(problem),)
        return Waiting(missing=missing)

    def unwritable(self, problem: OutputUnwritable) -> Missing:
        value = str(self.settings.state_dir)
        return Missing(variable="STATE_DIR", value=value, error=str(problem))

    def _load_reference(self) -> Iterator[Missing]:
        path = self.settings.reference_path
        if path is None:
            yield Missing(variable="REFERENCE_PATH", value=None, error=NO_REFERENCE)
        elif self._reference is None:
            try:
                self._reference = reference.load(path)
            except FeaturesRefused as problem:
                yield Missing(variable="REFERENCE_PATH", value=str(path), error=str(problem))
