"""One attempt to get the model and its features, which ends in Ready or in what is missing.

Imports torch. What is hashed is what is loaded, byte for byte: a file is read once, and bounded,
whoever may be writing to it.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from time import monotonic

import torch

from ct_scan_mlops.data.reading import Limits
from ct_scan_mlops.errors import FeaturesRefused, LocationRefused, WorkloadError
from ct_scan_mlops.features import storage
from ct_scan_mlops.features.storage import FeatureSet
from ct_scan_mlops.models import checkpoint
from ct_scan_mlops.models.prediction import Classifier
from ct_scan_mlops.serving.inference import Inference
from ct_scan_mlops.serving.local import local_chunks
from ct_scan_mlops.serving.remote import is_remote, remote_chunks, shown
from ct_scan_mlops.serving.states import Ready, Waiting
from ct_scan_mlops.settings import ServingSettings
from ct_scan_mlops.web.missing import Missing

# Predictions of one slice gain nothing from more, and the loop that answers /health needs a core.
TORCH_THREADS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    classifier: Classifier
    digest: str


@dataclass(slots=True, kw_only=True)
class Attempts:
    """Tries again what failed, and keeps what it has: a model is not downloaded twice."""

    settings: ServingSettings
    began: float
    count: int = 0
    model: _Model | None = None
    features: FeatureSet | None = None

    def __post_init__(self) -> None:
        torch.set_num_threads(TORCH_THREADS)

    def next(self, model_path: str) -> Waiting | Ready:
        self.count += 1
        missing = (*self._get_model(model_path), *self._get_features())
        if self.model is None or missing:
            return Waiting(missing=missing, attempts=self.count)
        limits = Limits(max_bytes=self.settings.max_upload_bytes)
        inference = Inference(classifier=self.model.classifier, limits=limits)
        inference.warm_up()
        features_path = self.settings.features_path if self.features else None
        return Ready(
            inference=inference,
            location=shown(model_path),
            features_location=shown(features_path) if features_path else None,
            digest=self.model.digest,
            seconds=monotonic() - self.began,
        )

    def _get_model(self, text: str) -> Iterator[Missing]:
        if self.model is not None:
            return
        try:
            data = self._read(text)
            classifier = checkpoint.decode(
                data, origin=shown(text), digests=self.settings.model_sha256
            )
        except WorkloadError as exc:
            yield Missing(variable="MODEL_PATH", value=shown(text), error=str(exc))
            return
        self.model = _Model(classifier=classifier, digest=sha256(data).hexdigest())

    def _get_features(self) -> Iterator[Missing]:
        """Those the model needs; a model of kind single needs none, whatever the variable says."""
        if self.model is None or not self.model.classifier.feature_names or self.features:
            return
        text = self.settings.features_path
        needed = self.model.classifier.feature_names
        if text is None:
            error = (
                f"The model is a {self.model.classifier.kind} and needs {len(needed)} features, "
                "and FEATURES_PATH is not set. Set it to the features_*.json that the model was "
                "trained with."
            )
            yield Missing(variable="FEATURES_PATH", value=None, error=error)
            return
        try:
            features = storage.decode(self._read(text), Path(text))
            _check_names(features, needed)
        except WorkloadError as exc:
            yield Missing(variable="FEATURES_PATH", value=shown(text), error=str(exc))
            return
        self.features = features

    def _read(self, text: str) -> bytes:
        chunks = (
            remote_chunks(text, anonymous=self.settings.storage_emulated)
            if is_remote(text)
            else local_chunks(text, root=self.settings.model_root)
        )
        most = self.settings.max_model_bytes
        content = BytesIO()
        with closing(chunks):
            for chunk in chunks:
                content.write(chunk)
                if content.tell() > most:
                    message = (
                        f"{shown(text)} has more than {most:,} bytes. Check that it names the "
                        "right file, or raise MAX_MODEL_MB."
                    )
                    raise LocationRefused(message)
        return content.getvalue()


def _check_names(features: FeatureSet, needed: tuple[str, ...]) -> None:
    absent = [name for name in needed if name not in features.names]
    if absent:
        message = (
            f"It has not all of the {len(needed)} features that the model needs: {len(absent)} are "
            f"absent, {absent[0]} for one. Name the file that this model was trained with."
        )
        raise FeaturesRefused(message)
