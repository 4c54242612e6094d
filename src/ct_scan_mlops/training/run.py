"""Trains one model: `python -m ct_scan_mlops.training.run model=dual_pathway trainer.max_epochs=3`.

What a user can do wrong is answered on stderr without a traceback, and by the exit code: 2 for what
the command line or the environment must be corrected for, 1 for the rest.
"""

import errno
import logging
import sys
import warnings
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from ct_scan_mlops.errors import SettingsInvalid, WorkloadError
from ct_scan_mlops.settings import TrackingSettings, environment
from ct_scan_mlops.training.configuration import configuration
from ct_scan_mlops.training.fitting import fit

_CONFIGURATIONS = str(Path(__file__).with_name("conf"))
# Lightning's advice about things that are as they are on purpose.
_KNOWN_ADVICE = (
    "Checkpoint directory .* exists and is not empty",
    "Experiment logs directory .* exists and is not empty",
    "The '.*_dataloader' does not have many workers",
    ".*isinstance\\(treespec, LeafSpec\\)",
)


def _train(composed: DictConfig) -> None:
    settings = configuration(composed)
    job = HydraConfig.get()
    # The jobs of a sweep keep apart what they write.
    swept = job.mode == RunMode.MULTIRUN
    root = Path(job.runtime.output_dir) if swept else settings.paths.outputs
    evaluation = fit(settings, root, TrackingSettings.from_environ(environment()))
    sys.stdout.write(
        f"test accuracy {evaluation.accuracy:.3f}, against {evaluation.baseline:.3f} for always "
        f"naming the most frequent class; {root / 'reports' / 'metrics.json'} has the rest\n"
    )


def _answered(composed: DictConfig) -> None:
    """Run the job; leave by SystemExit, which Hydra lets pass, instead of by a known failure."""
    try:
        _train(composed)
    except WorkloadError as failure:
        _leave(str(failure), failure.exit_code)
    except MisconfigurationException as failure:
        _leave(f"Lightning refuses the configuration: {failure}", SettingsInvalid.exit_code)
    except OSError as failure:
        _leave(_explained(failure, outputs=composed.paths.outputs), 1)


def _explained(failure: OSError, *, outputs: str) -> str:
    what = f"Training cannot go on: {failure.strerror or failure}."
    if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        # The file that the failure names is a temporary one of a library's.
        return f"{what} Make room in {outputs}, or name another place: paths.outputs=DIRECTORY."
    return f"{what} It was about {failure.filename or outputs}. Mend that, then train again."


def _leave(message: str, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{message}\n")
    raise SystemExit(code)


def main() -> None:
    """Parse the command line by Hydra's rules and train what it says, once or as a sweep."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for advice in _KNOWN_ADVICE:
        warnings.filterwarnings("ignore", advice)
    job = hydra.main(version_base="1.3", config_path=_CONFIGURATIONS, config_name="config")
    try:
        job(_answered)()
    except SystemExit as leaving:
        # Hydra leaves with 1 when it cannot compose, after it has said what and what there is.
        if isinstance(leaving.__context__, HydraException):
            raise SystemExit(SettingsInvalid.exit_code) from leaving
        raise


if __name__ == "__main__":
    main()
