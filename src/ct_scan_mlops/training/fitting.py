"""One run from slices to a report: what is trained, measured and written, in this order.

Everything random comes from `seed`: on a CPU the same seed gives the same report.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.profilers import Profiler, PyTorchProfiler, SimpleProfiler

from ct_scan_mlops.data.dataset import SPLITS
from ct_scan_mlops.features.storage import FeatureSet
from ct_scan_mlops.models import checkpoint
from ct_scan_mlops.models.description import ModelDescription, Widths
from ct_scan_mlops.settings import TrackingSettings
from ct_scan_mlops.training.configuration import Configuration
from ct_scan_mlops.training.data import SliceData, SliceSet, slice_set
from ct_scan_mlops.training.features import feature_set
from ct_scan_mlops.training.module import SliceClassification
from ct_scan_mlops.training.outputs import Outputs
from ct_scan_mlops.training.progress import Progress
from ct_scan_mlops.training.report import Evaluation, evaluate, write_report

if TYPE_CHECKING:
    from ct_scan_mlops.training.tracking import Tracking

BEST = "best"
REPORT = "metrics.json"


def fit(settings: Configuration, root: Path, tracking: TrackingSettings) -> Evaluation:
    """Train, and measure the best checkpoint as it was written. All files go below `root`."""
    outputs = Outputs.below(root)
    slices = slice_set(settings.data, image_size=settings.model.image_size)
    features = feature_set(settings, slices)
    description = _description(settings, slices, features)
    data = SliceData(
        slices, description, _by_name(features), settings=settings.data, seed=settings.seed
    )
    facts = _facts(settings, slices)
    with ExitStack() as lifetimes:
        callbacks: list[Callback] = [Progress(f"{settings.model.name}, seed {settings.seed}")]
        tracked = _tracked(tracking, facts)
        if tracked:
            callbacks.append(lifetimes.enter_context(tracked))
        seed_everything(settings.seed, workers=True, verbose=False)
        module = SliceClassification(
            description,
            learning_rate=settings.model.learning_rate,
            weight_decay=settings.model.weight_decay,
        )
        trainer = _trainer(settings, outputs, callbacks)
        trainer.fit(module, datamodule=data)
        best = checkpoint.load(outputs.checkpoints / f"{BEST}.ckpt")
        evaluation = evaluate(best, data.test_dataloader(), slices)
        if tracked:
            tracked.record(
                {"test_accuracy": evaluation.accuracy, "baseline": evaluation.baseline},
                step=settings.trainer.max_epochs,
            )
        write_report(outputs.reports / REPORT, {**asdict(evaluation), **facts})
    return evaluation


def _tracked(tracking: TrackingSettings, facts: Mapping[str, object]) -> "Tracking | None":
    if not tracking.tracking_uri:
        return None
    # Importing mlflow takes a second and starts threads; most runs do without.
    from ct_scan_mlops.training.tracking import Tracking

    return Tracking(tracking.tracking_uri, facts)


def _description(
    settings: Configuration, slices: SliceSet, features: FeatureSet
) -> ModelDescription:
    return ModelDescription(
        kind=settings.model.kind,
        classes=slices.classes,
        image_size=settings.model.image_size,
        widths=Widths(width=settings.model.width, hidden=settings.model.hidden),
        feature_names=features.names,
        feature_mean=features.mean,
        feature_scale=features.scale,
    )


def _by_name(features: FeatureSet) -> dict[str, dict[str, float]]:
    return {
        path: dict(zip(features.names, row, strict=True)) for path, row in features.rows.items()
    }


def _facts(settings: Configuration, slices: SliceSet) -> Mapping[str, object]:
    return {
        "model": settings.model.name,
        "seed": settings.seed,
        "epochs": settings.trainer.max_epochs,
        "data_digest": slices.digest,
        "slices": {split: len(slices.of(split)) for split in SPLITS},
    }


def _trainer(settings: Configuration, outputs: Outputs, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        max_epochs=settings.trainer.max_epochs,
        accelerator=settings.trainer.accelerator,
        devices=1,
        deterministic=True,
        callbacks=[*callbacks, _checkpoints(outputs)],
        logger=CSVLogger(outputs.logs, name="", version=""),
        profiler=_profiler(settings, outputs),
        default_root_dir=outputs.logs,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _checkpoints(outputs: Outputs) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=outputs.checkpoints,
        filename=BEST,
        monitor="validation_loss",
        save_last=True,
        enable_version_counter=False,
    )


def _profiler(settings: Configuration, outputs: Outputs) -> Profiler | None:
    match settings.profiler.name:
        case "none":
            return None
        case "simple":
            return SimpleProfiler(dirpath=outputs.profiling, filename="simple")
        case "pytorch":
            return PyTorchProfiler(
                dirpath=outputs.profiling, filename="pytorch", export_to_chrome=False
            )
