"""What a run says while it goes on: what it trains, then a line for each epoch."""

import sys
import time

from lightning.pytorch import Callback, LightningModule, Trainer


class Progress(Callback):
    """A line with the losses, the accuracy on validation slices and the seconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = 0.0

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        weights = sum(weight.numel() for weight in module.parameters())
        _say(f"{self._title}: {weights} weights, on {trainer.strategy.root_device}")

    def on_train_epoch_start(self, trainer: Trainer, _: LightningModule) -> None:
        del trainer
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, _: LightningModule) -> None:
        metrics = trainer.callback_metrics
        _say(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            f"  loss {float(metrics['train_loss']):.3f}"
            f"  validation loss {float(metrics['validation_loss']):.3f}"
            f"  accuracy {float(metrics['validation_accuracy']):.3f}"
            f"  {time.monotonic() - self._started:.1f} s"
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
