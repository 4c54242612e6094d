"""Lightning's view of a model: one step, one epoch, and what goes into a checkpoint."""

from typing import Any, TypeAlias

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import cross_entropy

from ct_scan_mlops.models.checkpoint import DESCRIPTION_KEY
from ct_scan_mlops.models.description import ModelDescription

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Slices (n, 1, size, size), standardised features (n, k), and classes by number (n)."""


class SliceClassification(LightningModule):
    """A model in training. Its weights are the only state, so that the checkpoint is the model."""

    def __init__(
        self, description: ModelDescription, *, learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__()
        self.description = description
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.model = description.build()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        return self._step("train", batch)

    def validation_step(self, batch: Batch, _: int) -> None:
        self._step("validation", batch)

    def _step(self, split: str, batch: Batch) -> Tensor:
        pixels, features, classes = batch
        logits: Tensor = self.model(pixels, features).logits
        loss = cross_entropy(logits, classes)
        accuracy = (logits.argmax(dim=1) == classes).float().mean()
        self.log_dict(
            {f"{split}_loss": loss.detach(), f"{split}_accuracy": accuracy},
            on_step=False,
            on_epoch=True,
            batch_size=len(classes),
        )
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=steps
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[DESCRIPTION_KEY] = self.description.document()
