"""Where a run's results go. Everything is tried for writing before the first slice is read."""

import sys
from dataclasses import dataclass
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ct_scan_mlops.errors import OutputUnwritable
from ct_scan_mlops.outputs import output_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The directories of one run below `root`; they exist and take files."""

    checkpoints: Path
    logs: Path
    reports: Path
    profiling: Path

    @classmethod
    def below(cls, root: Path) -> "Outputs":
        return cls(
            checkpoints=output_directory(root / "checkpoints"),
            logs=output_directory(root / "logs"),
            reports=output_directory(root / "reports"),
            profiling=output_directory(root / "profiling"),
        )


class OutputsCallback(Callback):
    """Tries the directories before Hydra writes into them: it would answer with a traceback.

    Hydra turns an exception of a callback into a warning, but lets SystemExit pass.
    """

    def on_run_start(self, config: DictConfig, **_: object) -> None:
        _try(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        _try(Path(config.hydra.sweep.dir))


def _try(directory: Path) -> None:
    try:
        output_directory(directory)
    except OutputUnwritable as refusal:
        sys.stderr.write(f"{refusal}\n")
        raise SystemExit(refusal.exit_code) from refusal
