"""Training as a user meets it: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import os
import resource
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from ct_scan_mlops.features import extraction
from ct_scan_mlops.models.checkpoint import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from tests.workload.training.conftest import Ended

    Command = Callable[..., Ended]


@pytest.fixture
def features(slices: Path, tmp_path: Path) -> Path:
    """The selected features of the slices."""
    place = tmp_path / "features"
    arguments = ["--data", str(slices), "--output", str(place), "--count", "5"]
    assert extraction.main(arguments) == 0
    return place


def report(outputs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((outputs / "reports" / "metrics.json").read_text())
    return found


def test_a_run_writes_what_is_promised_and_nothing_else(finished: Ended) -> None:
    files = (path for path in finished.place.rglob("*") if path.is_file())

    assert (finished.code, finished.err) == (0, "")
    assert sorted(str(path.relative_to(finished.place)) for path in files) == [
        "outputs/checkpoints/best.ckpt",
        "outputs/checkpoints/last.ckpt",
        "outputs/logs/hydra/config.yaml",
        "outputs/logs/hydra/hydra.yaml",
        "outputs/logs/hydra/overrides.yaml",
        "outputs/logs/metrics.csv",
        "outputs/reports/metrics.json",
    ]


def test_a_run_says_one_line_for_each_epoch(finished: Ended) -> None:
    lines = finished.out.splitlines()

    assert lines[0].startswith("single, seed 7: ")
    assert [line.split("  ")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert all("validation loss" in line and line.endswith(" s") for line in lines[1:3])
    assert lines[3].startswith("test accuracy 0.")
    assert len(lines) == 4


def test_the_report_has_the_baseline_and_each_class(finished: Ended) -> None:
    found = report(finished.place / "outputs")

    assert (found["model"], found["seed"], found["epochs"]) == ("single", 7, 2)
    assert found["baseline"] == pytest.approx(1 / 3)
    assert 0 <= found["accuracy"] <= 1
    assert set(found["classes"]) == {"benign", "malignant", "normal"}
    assert set(found["classes"]["normal"]) == {"precision", "recall", "count"}
    assert sum(score["count"] for score in found["classes"].values()) == found["slices"]["test"]
    assert len(found["data_digest"]) == 64


@pytest.mark.parametrize("name", ["best", "last"])
def test_the_checkpoints_are_models(name: str, finished: Ended) -> None:
    classifier = load(finished.place / "outputs" / "checkpoints" / f"{name}.ckpt")

    assert classifier.kind == "single"
    assert classifier.classes == ("benign", "malignant", "normal")
    assert classifier.image_size == 32


@pytest.mark.parametrize(("seed", "same"), [(7, True), (8, False)])
def test_the_seed_decides_the_result(
    seed: int, finished: Ended, command: Command, *, same: bool
) -> None:
    again = command("trainer.max_epochs=2", f"seed={seed}")

    first, second = (
        load(ended.place / "outputs" / "checkpoints" / "last.ckpt").model.state_dict()
        for ended in (finished, again)
    )
    assert all(torch.equal(first[name], second[name]) for name in first) == same
    assert (report(again.place / "outputs") == report(finished.place / "outputs")) == same


def test_a_dual_model_takes_all_features(command: Command, tmp_path: Path) -> None:
    assert command("model=dual_pathway").code == 0

    classifier = load(tmp_path / "outputs" / "checkpoints" / "best.ckpt")
    assert classifier.kind == "dual_pathway"
    assert classifier.feature_names == extraction.FEATURE_NAMES


def test_a_dual_model_takes_the_selected_features(
    command: Command, features: Path, tmp_path: Path
) -> None:
    chosen = features / "features_top_features.pkl"
    ended = command("model=dual_pathway_top_features", f"paths.features={chosen}")

    assert (ended.code, ended.err) == (0, "")
    assert len(load(tmp_path / "outputs" / "checkpoints" / "best.ckpt").feature_names) == 5


def test_a_missing_feature_set_is_answered_with_the_command(command: Command) -> None:
    ended = command("model=dual_pathway_top_features", "paths.features=none")

    assert ended.code == 1
    assert "no feature set none/features_top_features.json" in ended.err
    assert "python -m ct_scan_mlops.features.extraction --features top_features" in ended.err


def test_features_of_other_slices_are_refused(
    command: Command, features: Path, tmp_path: Path
) -> None:
    path = features / "features_top_features.json"
    document = json.loads(path.read_text())
    document["rows"].pop(min(document["rows"]))
    path.write_text(json.dumps(document))

    ended = command("model=dual_pathway_top_features", f"paths.features={features}")

    assert ended.code == 1
    assert "made from other slices: 1 of 60" in ended.err
    assert not (tmp_path / "outputs" / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=resnet", "dual_pathway_top_features"),
        ("trainer.max_epoch=3", "max_epoch"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: Input should be greater"),
        ("data.batch_size=many", "data.batch_size='many'"),
        ("data.root=???", "data.root"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(override: str, said: str, command: Command) -> None:
    ended = command(override)

    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_missing_data_are_answered_with_the_command(command: Command) -> None:
    ended = command("data.root=nowhere")

    assert ended.code == 1
    assert "python -m ct_scan_mlops.data.synthetic --output nowhere" in ended.err
    assert "data.synthetic=true" in ended.err


def test_missing_data_are_made_where_that_is_asked_for(command: Command, tmp_path: Path) -> None:
    ended = command("data.root=made", "data.synthetic=true", "data.synthetic_count=30")

    assert ended.code == 0
    assert sum(report(tmp_path / "outputs")["slices"].values()) == 30


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_slice_is_named_before_training(
    workers: int, command: Command, slices: Path, tmp_path: Path
) -> None:
    shutil.copytree(slices, tmp_path / "copy")
    damaged = min((tmp_path / "copy" / "test" / "normal").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:100])

    ended = command("data.root=copy", f"data.num_workers={workers}")

    assert ended.code == 1
    assert damaged.name in ended.err
    assert "epoch" not in ended.out
    assert "Traceback" not in ended.err


def test_labels_without_a_test_split_are_refused(
    command: Command, slices: Path, tmp_path: Path
) -> None:
    shutil.copytree(slices, tmp_path / "copy")
    table = tmp_path / "copy" / "labels.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith("test/")))

    ended = command("data.root=copy")

    assert ended.code == 1
    assert "Empty: test" in ended.err


@pytest.mark.parametrize("sweep", [(), ("--multirun", "seed=1,2")], ids=["run", "sweep"])
def test_outputs_that_cannot_be_written_are_told(
    sweep: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    ended = command(*sweep, "paths.outputs=file/outputs")

    assert ended.code == 1
    assert "cannot be written" in ended.err
    assert "Traceback" not in ended.err


def test_outputs_of_another_owner_are_told_with_the_remedy(
    command: Command, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")

    ended = command("paths.outputs=closed")

    assert ended.code == 1
    assert f"{closed} belongs to {os.getuid()}" in ended.err
    assert "chown" in ended.err
    assert "--user" in ended.err


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may have 16 KiB here: room for what Hydra notes, not for a checkpoint."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_checkpoint_that_does_not_fit_is_told(command: Command) -> None:
    ended = command()

    assert ended.code == 1
    assert "Training cannot go on: File too large. Make room in outputs" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(command: Command) -> None:
    ended = command("trainer.accelerator=gpu")

    assert ended.code == 2
    assert "gpu" in ended.err
    assert "Traceback" not in ended.err


def test_a_sweep_keeps_its_runs_apart(command: Command, tmp_path: Path) -> None:
    ended = command("--multirun", "seed=1,2", "model=single")

    assert (ended.code, ended.err) == (0, "")
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert [report(sweep / job)["seed"] for job in ("0", "1")] == [1, 2]
    assert (sweep / "1" / "checkpoints" / "best.ckpt").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"sweeps"}


def test_a_mistake_in_a_sweep_is_told_before_its_first_run(command: Command) -> None:
    ended = command("--multirun", "model=single,resnet")

    assert ended.code == 2
    assert "resnet" in ended.err
    assert "epoch" not in ended.out


@pytest.mark.filterwarnings("ignore:The PyTorch Profiler default schedule")
@pytest.mark.parametrize(
    ("name", "said"), [("simple", "training_step"), ("pytorch", "Self CPU time total")]
)
def test_a_profile_is_written_where_it_is_asked_for(
    name: str, said: str, command: Command, tmp_path: Path
) -> None:
    assert command(f"profiler={name}").code == 0

    written = list((tmp_path / "outputs" / "profiling").iterdir())
    assert [path.name for path in written] == [f"fit-{name}.txt"]
    assert said in written[0].read_text()
