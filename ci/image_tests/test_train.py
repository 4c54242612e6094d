"""What trainings in the shipped image left, and how they ended."""

from __future__ import annotations

import csv

import pytest

from ci.image_tests.supervised import RESULTS, load_result

BETTER = 1.2
MODELS = ["single", "dual_pathway_top_features"]


@pytest.mark.parametrize("model", MODELS)
def test_a_short_training_beats_the_baseline(model: str) -> None:
    metrics = load_result(f"{model}/reports/metrics.json")
    assert metrics["accuracy"] > BETTER * metrics["baseline"], metrics


@pytest.mark.parametrize("model", MODELS)
def test_a_training_leaves_checkpoints_and_logs(model: str) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        assert (RESULTS / model / "checkpoints" / name).stat().st_size
    with (RESULTS / model / "logs/metrics.csv").open(newline="") as file:
        assert list(csv.DictReader(file))


def test_a_volume_of_its_own_can_be_written_to() -> None:
    ending = load_result("outcomes/fresh.json")
    assert ending["status"] == 0, ending["stderr"]


def test_a_directory_of_another_owner_is_refused_with_what_to_do() -> None:
    ending = load_result("outcomes/foreign.json")
    assert ending["status"] == 1
    assert "/app/outputs" in ending["stderr"]
    assert "belongs to 0:0" in ending["stderr"]
    assert "chown 1000:1000" in ending["stderr"]
    assert "Traceback" not in ending["stderr"]
