"""Checkpoints of random weights, as training writes them, for what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from ct_scan_mlops.models.description import ModelDescription, Widths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Content = dict[str, Any]


@pytest.fixture
def single() -> ModelDescription:
    return ModelDescription(
        kind="single", classes=("benign", "normal"), image_size=32, widths=Widths(width=4, hidden=8)
    )


@pytest.fixture
def dual() -> ModelDescription:
    return ModelDescription(
        kind="dual_pathway",
        classes=("benign", "malignant", "normal"),
        image_size=32,
        widths=Widths(width=4, hidden=8),
        feature_names=("stat_mean", "glcm_contrast"),
        feature_mean=(0.5, 10.0),
        feature_scale=(0.1, 4.0),
    )


@pytest.fixture
def content() -> Callable[[ModelDescription], Content]:
    """What is in a checkpoint, open for changes."""

    def build(description: ModelDescription) -> Content:
        torch.manual_seed(3)
        weights = description.build().state_dict()
        return {
            "epoch": 1,
            "state_dict": {f"model.{name}": tensor for name, tensor in weights.items()},
            "ct_scan_model": description.document(),
        }

    return build


@pytest.fixture
def saved(
    tmp_path: Path, content: Callable[[ModelDescription], Content]
) -> Callable[[ModelDescription], Path]:
    """A whole checkpoint on disk."""

    def save(description: ModelDescription) -> Path:
        path = tmp_path / "best.ckpt"
        torch.save(content(description), path)
        return path

    return save
