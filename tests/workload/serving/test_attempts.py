"""What is said of a model that is missing, damaged, or without its features."""

import os
from pathlib import Path

import pytest

from ct_scan_mlops.serving.attempts import Attempts
from ct_scan_mlops.serving.states import Ready, Waiting
from ct_scan_mlops.settings import ServingSettings
from ct_scan_mlops.web.missing import Missing


def attempt(root: Path, **environ: str) -> Waiting | Ready:
    settings = ServingSettings.from_environ({"MODEL_ROOT": str(root), **environ})
    assert settings.model_path is not None
    return Attempts(settings=settings, began=0.0).next(settings.model_path)


def missing(root: Path, **environ: str) -> Missing:
    state = attempt(root, **environ)
    assert isinstance(state, Waiting)
    (only,) = state.missing
    return only


def test_a_single_model_needs_no_features(models: Path) -> None:
    state = attempt(models, MODEL_PATH="single.ckpt", FEATURES_PATH="absent.json")
    assert isinstance(state, Ready)
    assert state.features_location is None


@pytest.mark.parametrize("name", ["features_top_features.json", "features_top_features.pkl"])
def test_a_dual_model_is_ready_with_either_form_of_its_features(models: Path, name: str) -> None:
    state = attempt(models, MODEL_PATH="dual.ckpt", FEATURES_PATH=name)
    assert isinstance(state, Ready)
    assert state.features_location == name


def test_a_dual_model_without_features_names_the_variable(models: Path) -> None:
    said = missing(models, MODEL_PATH="dual.ckpt")
    assert (said.variable, said.value) == ("FEATURES_PATH", None)
    assert "is a dual_pathway and needs 8 features" in said.error


def test_features_that_are_not_found_are_named(models: Path) -> None:
    said = missing(models, MODEL_PATH="dual.ckpt", FEATURES_PATH="absent.json")
    assert (said.variable, said.value) == ("FEATURES_PATH", "absent.json")
    assert "no such file" in said.error


def test_features_of_another_model_are_refused(models: Path) -> None:
    said = missing(models, MODEL_PATH="dual.ckpt", FEATURES_PATH="features_other.json")
    assert said.variable == "FEATURES_PATH"
    assert "8 are absent" in said.error


def test_a_checkpoint_that_is_not_found_is_named(models: Path) -> None:
    said = missing(models, MODEL_PATH="absent.ckpt")
    assert (said.variable, said.value) == ("MODEL_PATH", "absent.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(models: Path, tmp_path: Path, share: float) -> None:
    whole = (models / "single.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: int(len(whole) * share)])
    assert missing(tmp_path, MODEL_PATH="cut.ckpt").variable == "MODEL_PATH"


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "hostile.ckpt").write_bytes(b"cos\nsystem\n(S'touch %b'\ntR." % os.fsencode(canary))
    assert missing(tmp_path, MODEL_PATH="hostile.ckpt").variable == "MODEL_PATH"
    assert not canary.exists()


def test_only_the_allowed_digests_are_loaded(models: Path) -> None:
    state = attempt(models, MODEL_PATH="single.ckpt")
    assert isinstance(state, Ready)
    allowed = f"{'0' * 64},{state.digest.upper()}"
    assert isinstance(attempt(models, MODEL_PATH="single.ckpt", MODEL_SHA256=allowed), Ready)
    said = missing(models, MODEL_PATH="single.ckpt", MODEL_SHA256="0" * 64)
    assert state.digest in said.error


def test_an_endless_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(10**12)
    said = missing(tmp_path, MODEL_PATH="endless", MAX_MODEL_MB="1")
    assert "more than 1,048,576 bytes" in said.error


def test_what_was_loaded_is_kept_while_features_are_awaited(models: Path, tmp_path: Path) -> None:
    for name in ("dual.ckpt", "features_top_features.json"):
        (tmp_path / name).write_bytes((models / name).read_bytes())
    settings = ServingSettings(
        model_path="dual.ckpt", features_path="late.json", model_root=tmp_path
    )
    attempts = Attempts(settings=settings, began=0.0)
    assert isinstance(attempts.next("dual.ckpt"), Waiting)
    (tmp_path / "dual.ckpt").unlink()
    (tmp_path / "features_top_features.json").rename(tmp_path / "late.json")
    assert isinstance(attempts.next("dual.ckpt"), Ready)
