"""One slice in, one prediction out: the same for the same input, from any number of threads.

A classifier never changes after it was made: its model is in evaluation mode, and inference mode
keeps torch from recording anything into it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from ct_scan_mlops.data.reading import resized
from ct_scan_mlops.errors import FeaturesRefused
from ct_scan_mlops.models.description import Kind, ModelDescription, SliceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """`probabilities` has every class and sums to 1; `label` is the likeliest, or the first."""

    label: str
    probabilities: dict[str, float]
    embedding: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A trained model that is ready to be asked."""

    description: ModelDescription
    model: SliceModel = field(repr=False)

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(requires_grad=False)

    @property
    def kind(self) -> Kind:
        return self.description.kind

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What `predict` must be given; empty if the image is enough."""
        return self.description.feature_names

    @property
    def image_size(self) -> int:
        return self.description.image_size

    def predict(
        self, pixels: npt.NDArray[np.float32], features: Mapping[str, float] | None = None
    ) -> Prediction:
        """Classify a slice with values in 0..1; one of another size is resized.

        `features` are raw, as extracted from the slice at `image_size`; what the model does not
        use is left out.
        """
        if self.feature_names and features is None:
            message = (
                f"The model is a {self.kind} and needs {len(self.feature_names)} features of the "
                "slice; there are none. Extract them, or use a model of kind single."
            )
            raise FeaturesRefused(message)
        row = self.description.standardised(features or {})
        plane = np.ascontiguousarray(resized(pixels, self.image_size), dtype=np.float32)
        with torch.inference_mode():
            scores = self.model(torch.from_numpy(plane)[None, None], torch.from_numpy(row)[None])
            probabilities = torch.softmax(scores.logits[0].double(), dim=0).tolist()
        likeliest = max(range(len(self.classes)), key=probabilities.__getitem__)
        return Prediction(
            label=self.classes[likeliest],
            probabilities=dict(zip(self.classes, probabilities, strict=True)),
            embedding=tuple(scores.embedding[0].tolist()),
        )
