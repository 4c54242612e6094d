"""How good a checkpoint is on slices that were held out, against always naming one class.

Nothing in the report depends on the clock or the machine: the same run gives the same file.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ct_scan_mlops.models.prediction import Classifier
from ct_scan_mlops.training.data import SliceSet
from ct_scan_mlops.training.module import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """Of one class: 0 where there is nothing to divide by."""

    precision: float
    recall: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """`baseline` is what the most frequent class of the training slices would get."""

    accuracy: float
    baseline: float
    classes: dict[str, ClassScore]


def evaluate(classifier: Classifier, batches: Iterable[Batch], slices: SliceSet) -> Evaluation:
    """Ask the classifier about every test slice."""
    confusion = _confusion(classifier, batches)
    total = float(confusion.sum())
    train = slices.counts("train")
    majority = classifier.classes.index(max(sorted(train), key=train.__getitem__))
    return Evaluation(
        accuracy=float(confusion.diagonal().sum()) / total,
        baseline=float(confusion[majority].sum()) / total,
        classes={
            name: ClassScore(
                precision=_share(confusion[number, number], confusion[:, number].sum()),
                recall=_share(confusion[number, number], confusion[number].sum()),
                count=int(confusion[number].sum()),
            )
            for number, name in enumerate(classifier.classes)
        },
    )


def _confusion(classifier: Classifier, batches: Iterable[Batch]) -> Tensor:
    """Row: what it is. Column: what it was taken for."""
    count = len(classifier.classes)
    confusion = torch.zeros(count, count, dtype=torch.int64)
    with torch.inference_mode():
        for pixels, features, classes in batches:
            found = classifier.model(pixels, features).logits.argmax(dim=1)
            pairs = torch.bincount(classes * count + found, minlength=count * count)
            confusion += pairs.reshape(count, count)
    return confusion


def _share(part: Tensor, whole: Tensor) -> float:
    return int(part) / int(whole) if int(whole) else 0.0


def write_report(path: Path, document: dict[str, object]) -> None:
    """Replace the report by a whole one."""
    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    unfinished.replace(path)
