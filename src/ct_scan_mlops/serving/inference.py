"""From the bytes of an upload to the answer: blocking work, done in a thread.

Imports torch, and is therefore itself imported only by the thread that loads the model.
"""

from dataclasses import dataclass

import numpy as np

from ct_scan_mlops.data.reading import Limits, Pixels, read_slice, resized
from ct_scan_mlops.features.extraction import extract
from ct_scan_mlops.models.prediction import Classifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A model and what it needs; the same answer for the same bytes."""

    classifier: Classifier
    limits: Limits

    def classify(self, data: bytes, *, details: bool) -> dict[str, object]:
        """The answer as plain values. `details` adds what the drift API takes as an observation."""
        return self._classify(read_slice(data, self.limits).pixels, details=details)

    def warm_up(self) -> None:
        """One prediction, so that the first client does not pay for what is made on first use."""
        size = self.classifier.image_size
        ramp = np.linspace(0, 1, size * size, dtype=np.float32)
        self._classify(ramp.reshape(size, size), details=True)

    def _classify(self, pixels: Pixels, *, details: bool) -> dict[str, object]:
        small = resized(pixels, self.classifier.image_size)
        features = extract(small) if details or self.classifier.feature_names else None
        prediction = self.classifier.predict(small, features)
        answer: dict[str, object] = {
            "label": prediction.label,
            "probabilities": prediction.probabilities,
            "model": self.classifier.kind,
        }
        if details:
            answer |= {"features": features, "embedding": prediction.embedding}
        return answer
