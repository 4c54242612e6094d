"""The single pathway: a small convolutional network over one slice."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Scores(NamedTuple):
    """Of a batch: `logits` (n, classes) and the `embedding` (n, k) that they were read from."""

    logits: Tensor
    embedding: Tensor


class ImagePathway(nn.Sequential):
    """Slices (n, 1, size, size) to vectors (n, 4 * width), whatever the size is.

    Pooling over the whole plane at the end makes the vector say what is in the slice, not where.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__(
            *_block(1, width),
            *_block(width, 2 * width),
            *_block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class SingleModel(nn.Module):
    """The image alone decides."""

    def __init__(self, *, classes: int, width: int = 16) -> None:
        super().__init__()
        self.image = ImagePathway(width=width)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, pixels: Tensor, features: Tensor) -> Scores:
        """Score a batch; `features` is (n, 0): both models are called alike."""
        embedding = torch.cat([self.image(pixels), features], dim=1)
        return Scores(self.head(embedding), embedding)


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
