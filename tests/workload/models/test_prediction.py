"""What a classifier says, and that it says it again, from any thread."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ct_scan_mlops.errors import FeaturesRefused
from ct_scan_mlops.models.checkpoint import load
from ct_scan_mlops.models.description import ModelDescription

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ct_scan_mlops.models.prediction import Classifier

    Saved = Callable[[ModelDescription], Path]

FEATURES = {"glcm_contrast": 12.0, "stat_mean": 0.4, "not_asked_for": math.nan}
SLICE = np.random.default_rng(5).random((32, 32), dtype=np.float32)


@pytest.fixture
def classifier(saved: Saved, dual: ModelDescription) -> Classifier:
    return load(saved(dual))


def test_a_single_model_needs_no_features(saved: Saved, single: ModelDescription) -> None:
    prediction = load(saved(single)).predict(SLICE)

    assert prediction.label in single.classes
    assert tuple(prediction.probabilities) == single.classes
    assert math.isclose(sum(prediction.probabilities.values()), 1.0)
    assert prediction.probabilities[prediction.label] == max(prediction.probabilities.values())
    assert len(prediction.embedding) == 32


def test_a_dual_model_says_what_it_is_and_needs(classifier: Classifier) -> None:
    assert classifier.kind == "dual_pathway"
    assert classifier.classes == ("benign", "malignant", "normal")
    assert classifier.feature_names == ("stat_mean", "glcm_contrast")
    assert classifier.image_size == 32


def test_features_count_by_name_and_not_by_order(classifier: Classifier) -> None:
    turned = dict(reversed(FEATURES.items()))

    assert classifier.predict(SLICE, FEATURES) == classifier.predict(SLICE, turned)
    assert classifier.predict(SLICE, FEATURES) != classifier.predict(
        SLICE, FEATURES | {"stat_mean": 0.6}
    )


def test_no_features_for_a_dual_model_are_refused(classifier: Classifier) -> None:
    with pytest.raises(FeaturesRefused, match=r"needs 2 features .* there are none"):
        classifier.predict(SLICE)


def test_a_missing_feature_is_named(classifier: Classifier) -> None:
    with pytest.raises(FeaturesRefused, match=r"1 are missing: glcm_contrast"):
        classifier.predict(SLICE, {"stat_mean": 0.4})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_feature_that_is_no_number_is_named(classifier: Classifier, value: float) -> None:
    with pytest.raises(FeaturesRefused, match="Not a finite number: stat_mean"):
        classifier.predict(SLICE, FEATURES | {"stat_mean": value})


def test_a_feature_beyond_all_bounds_leaves_probabilities(classifier: Classifier) -> None:
    prediction = classifier.predict(SLICE, FEATURES | {"stat_mean": 1e308, "glcm_contrast": -1e308})

    assert math.isclose(sum(prediction.probabilities.values()), 1.0)


def test_a_slice_of_another_size_is_resized(classifier: Classifier) -> None:
    large = np.kron(SLICE, np.ones((2, 3), dtype=np.float32))

    assert classifier.predict(large, FEATURES).label in classifier.classes


def test_threads_get_what_one_gets_alone(classifier: Classifier) -> None:
    slices = [SLICE * share for share in np.linspace(0.1, 1.0, 8, dtype=np.float32)]
    alone = [classifier.predict(pixels, FEATURES) for pixels in slices]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda pixels: classifier.predict(pixels, FEATURES), slices * 8))

    assert together == alone * 8


def test_predicting_changes_no_weight(classifier: Classifier) -> None:
    before = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}

    classifier.predict(SLICE, FEATURES)

    after = classifier.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_one_slice_takes_milliseconds(saved: Saved) -> None:
    """Of the size that is trained by default; generous, since machines are shared."""
    path = saved(ModelDescription(kind="single", classes=("a", "b", "c"), image_size=64))
    classifier = load(path)
    pixels = np.zeros((64, 64), dtype=np.float32)
    classifier.predict(pixels)

    started = time.perf_counter()
    for _ in range(20):
        classifier.predict(pixels)

    assert (time.perf_counter() - started) / 20 < 0.1
