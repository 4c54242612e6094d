"""Features of any slice are finite and quick; the command makes a set or says why not."""

import os
import stat
import time
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import numpy as np
import pytest

from ct_scan_mlops.data.reading import resized
from ct_scan_mlops.data.synthetic import generate
from ct_scan_mlops.features import storage
from ct_scan_mlops.features.extraction import FEATURE_NAMES, extract, extract_set, main

NOBODY = 65534

AWKWARD = {
    "black": np.zeros((64, 64)),
    "white": np.ones((64, 64)),
    "grey": np.full((64, 64), 0.5),
    "one pixel": np.full((1, 1), 0.7),
    "one row": np.linspace(0, 1, 64)[None, :],
    "denormal": np.full((64, 64), 1e-40),
    "checks": np.indices((64, 64)).sum(axis=0) % 2,
    "point": np.pad(np.ones((1, 1)), 31),
    "large": np.random.default_rng(1).random((700, 500)),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    generate(root, count=120, seed=5)
    return root


@pytest.fixture
def not_root(tmp_path: Path) -> Iterator[None]:
    """Root may write anywhere, so it steps down where it is root."""
    if os.geteuid() != 0:
        yield
        return
    for parent in [tmp_path, *tmp_path.parents]:
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)
    os.setegid(0)


@pytest.mark.parametrize("name", AWKWARD)
def test_every_feature_is_finite_whatever_the_slice_shows(name: str) -> None:
    found = extract(AWKWARD[name].astype(np.float32))
    assert tuple(found) == FEATURE_NAMES
    assert all(type(value) is float and isfinite(value) for value in found.values()), found


def test_names_are_those_of_the_manual_and_each_is_there_once() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert {"glcm_joint_entropy", "glrlm_short_runs_emphasis", "stat_mean"} <= set(FEATURE_NAMES)
    assert {name.split("_")[0] for name in FEATURE_NAMES} == {
        "stat",
        "ih",
        "morph",
        "glcm",
        "glrlm",
    }


def test_a_slice_takes_less_than_30_ms() -> None:
    pixels = np.random.default_rng(1).random((64, 64), dtype=np.float32)
    times = []
    for _ in range(20):
        start = time.process_time()
        extract(pixels)
        times.append(time.process_time() - start)
    assert sorted(times)[10] < 0.03


def test_texture_does_not_depend_on_how_the_slice_is_turned() -> None:
    rng = np.random.default_rng(8)
    pixels = np.clip(rng.normal(0.5, 0.1, (64, 64)), 0, 1).astype(np.float32)
    upright, turned = extract(pixels), extract(np.rot90(pixels).copy())
    for name in FEATURE_NAMES:
        assert turned[name] == pytest.approx(upright[name], rel=1e-6, abs=1e-6), name


def test_a_larger_slice_is_measured_at_the_same_size() -> None:
    pixels = np.random.default_rng(1).random((300, 200), dtype=np.float32)
    assert extract(pixels) == extract(resized(pixels, 64))


def test_features_that_never_vary_do_not_spoil_the_set(data: Path, tmp_path: Path) -> None:
    slices = [line.split(",")[0] for line in (data / "labels.csv").read_text().splitlines()[1:]]
    only = next(path for path in slices if path.endswith(".png"))
    lines = [f"{number}.png,normal,train" for number in range(3)]
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes((data / only).read_bytes())
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    found = storage.load(storage.save(extract_set(tmp_path, None), tmp_path))
    assert set(found.scale) == {1.0}


def test_mean_scale_and_choice_come_from_the_training_split_alone(
    data: Path, tmp_path: Path
) -> None:
    whole = extract_set(data, 8)
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for split in ("train", "validation", "test"):
        (shuffled / split).symlink_to(data / split)
    lines = (data / "labels.csv").read_text().splitlines()
    other = [line for line in lines if not line.endswith(",test")]
    (shuffled / "labels.csv").write_text("\n".join(other) + "\n")
    part = extract_set(shuffled, 8)
    assert (part.names, part.mean, part.scale) == (whole.names, whole.mean, whole.scale)
    assert len(part.rows) == len(other) - 1 < len(whole.rows)


def test_standardised_training_rows_have_mean_0_and_deviation_1(data: Path) -> None:
    found = extract_set(data, None)
    rows = [values for path, values in found.rows.items() if path.startswith("train/")]
    scaled = np.array(
        [found.standardised(dict(zip(found.names, row, strict=True))) for row in rows]
    )
    assert scaled.dtype == np.float32
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-4)
    deviations = scaled.std(axis=0)
    assert np.all((np.abs(deviations - 1) < 1e-3) | (deviations < 1e-6))


@pytest.mark.parametrize(("features", "count"), [("top_features", 5), ("all", len(FEATURE_NAMES))])
def test_the_command_writes_both_files_and_says_where(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    features: str,
    count: int,
) -> None:
    arguments = ["--data", str(data), "--output", str(tmp_path), "--count", "5"]
    assert main([*arguments, "--features", features]) == 0
    path = tmp_path / f"features_{features}.json"
    assert str(path) in capsys.readouterr().out
    found = storage.load(path)
    assert len(found.names) == count
    assert len(found.rows) == 120
    assert storage.load(path.with_suffix(".pkl")) == found


def test_the_same_data_give_the_same_file(data: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert main(["--data", str(data), "--output", str(tmp_path / name)]) == 0
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("first", "second")
    )
    assert first == second
    assert set(first) == {"features_top_features.json", "features_top_features.pkl"}


@pytest.mark.usefixtures("not_root")
def test_an_unwritable_output_is_said_with_both_owners_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path("/proc/sys")
    assert main(["--data", str(tmp_path / "absent"), "--output", str(output)]) == 1
    said = capsys.readouterr().err
    assert str(output) in said
    assert "belongs to 0:0" in said
    assert f"runs as {os.geteuid()}:{os.getegid()}" in said
    assert "--user" in said
    assert "chown" in said


@pytest.mark.parametrize("count", ["0", "-3", "1000"])
def test_an_impossible_count_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    assert main(["--data", str(data), "--output", str(tmp_path), "--count", count]) == 2
    assert f"--count is {count}" in capsys.readouterr().err


def test_missing_data_are_refused_with_the_command_that_makes_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path / "none"), "--output", str(tmp_path)]) == 1
    assert "ct_scan_mlops.data.synthetic" in capsys.readouterr().err
