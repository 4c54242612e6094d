"""The single pathway: a small convolutional network over one slice."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

# Windowed values are in 0..1 and differ by a few hundredths within a tissue.
GREY = 0.5
GAIN = 4.0


class Scores(NamedTuple):
    """Of a batch: `logits` (n, classes) and the `embedding` (n, k) that they were read from."""

    logits: Tensor
    embedding: Tensor


class ImagePathway(nn.Module):
    """Slices (n, 1, size, size) to vectors (n, `outputs`), whatever the size is.

    Of each map the mean and the maximum: what is small in the slice does not drown in the mean.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            *_block(1, width),
            nn.MaxPool2d(2),
            *_block(width, 2 * width),
            nn.MaxPool2d(2),
            *_block(2 * width, 4 * width),
        )
        self.outputs = 2 * 4 * width

    def forward(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.maps((pixels - GREY) * GAIN)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class SingleModel(nn.Module):
    """The image alone decides."""

    def __init__(self, *, classes: int, width: int) -> None:
        super().__init__()
        self.image = ImagePathway(width=width)
        self.head = nn.Linear(self.image.outputs, classes)

    def forward(self, pixels: Tensor, features: Tensor) -> Scores:
        """Score a batch; `features` is (n, 0): both models are called alike."""
        del features
        embedding = self.image(pixels)
        return Scores(self.head(embedding), embedding)


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.2),
        nn.ReLU(),
    )
