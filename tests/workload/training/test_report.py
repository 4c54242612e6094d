"""The numbers of a report, against ones that were counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ct_scan_mlops.data.dataset import Row
from ct_scan_mlops.models.description import ModelDescription, Widths
from ct_scan_mlops.models.prediction import Classifier
from ct_scan_mlops.training.data import SliceSet
from ct_scan_mlops.training.report import ClassScore, evaluate

CLASSES = ("a", "b", "c")


@pytest.fixture
def always_b() -> Classifier:
    description = ModelDescription(
        kind="single", classes=CLASSES, image_size=16, widths=Widths(width=1)
    )
    model = description.build()
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.tensor([0.0, 1.0, 0.0])
    return Classifier(description=description, model=model)


def test_accuracy_baseline_and_classes(always_b: Classifier) -> None:
    labels = ["c", "c", "c", "b", "b", "a"]
    rows = tuple(Row(path=str(n), label=name, split="train") for n, name in enumerate(labels))
    slices = SliceSet(root=Path(), rows=rows, classes=CLASSES, digest="")
    held_out = torch.tensor([1, 1, 1, 2, 2, 0, 1, 2])
    batches = [
        (torch.zeros(len(part), 1, 16, 16), torch.zeros(len(part), 0), part)
        for part in (held_out[:5], held_out[5:])
    ]

    found = evaluate(always_b, batches, slices)

    assert found.accuracy == 4 / 8
    # c is the most frequent in training, and three of the eight are c.
    assert found.baseline == 3 / 8
    assert found.classes == {
        "a": ClassScore(precision=0.0, recall=0.0, count=1),
        "b": ClassScore(precision=0.5, recall=1.0, count=4),
        "c": ClassScore(precision=0.0, recall=0.0, count=3),
    }
