"""The generator: same seed, same bytes; fair splits; a label that only texture tells."""

import hashlib
import os
import subprocess  # noqa: TID251 - the workload runs where the tool, and its command.run, is not
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ct_scan_mlops.data.dataset import load_pixels, read_labels
from ct_scan_mlops.data.reading import read_slice
from ct_scan_mlops.data.synthetic import CLASSES, generate, main
from ct_scan_mlops.errors import SettingsInvalid
from ct_scan_mlops.features.extraction import FEATURE_NAMES, extract


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    for name, seed in (("first", 5), ("second", 5), ("third", 6)):
        generate(tmp_path / name, count=40, seed=seed)
    first, second, third = (contents(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second
    assert not set(first.values()) & set(third.values())


def test_every_slice_is_named_once_and_in_one_split_only(tmp_path: Path) -> None:
    generate(tmp_path, count=200, seed=5)
    rows = read_labels(tmp_path)
    found = contents(tmp_path)
    assert len(rows) == len({row.path for row in rows}) == 200
    assert set(found) == {row.path for row in rows} | {"labels.csv"}
    assert len(set(found.values())) == 201


def test_splits_have_every_class_in_the_same_share(tmp_path: Path) -> None:
    generate(tmp_path, count=300, seed=5)
    counts = Counter((row.split, row.label) for row in read_labels(tmp_path))
    assert counts == {
        (split, label): share
        for split, share in (("train", 70), ("validation", 15), ("test", 15))
        for label in CLASSES
    }


@pytest.mark.parametrize("count", [9, 10, 11])
def test_the_smallest_sets_have_every_class_in_every_split(tmp_path: Path, count: int) -> None:
    generate(tmp_path, count=count, seed=5)
    assert len({(row.split, row.label) for row in read_labels(tmp_path)}) == 9


def test_formats_are_mixed_and_dicom_files_are_complete(tmp_path: Path) -> None:
    generate(tmp_path, count=120, seed=5, dicom_share=0.5)
    paths = [tmp_path / row.path for row in read_labels(tmp_path)]
    dicoms = [path for path in paths if path.suffix == ".dcm"]
    depths = {path.read_bytes()[24] for path in paths if path.suffix == ".png"}
    assert 40 < len(dicoms) < 80
    assert depths == {8, 16}
    images = [dcmread(path) for path in dicoms]
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    first = images[0]
    assert (first.Modality, first.RescaleSlope, first.RescaleIntercept) == ("CT", 1, -1024)
    assert (first.WindowCenter, first.WindowWidth) == (40, 400)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_slice_looks_the_same_in_every_format(tmp_path: Path, share: float) -> None:
    generate(tmp_path / "mixed", count=9, seed=5, dicom_share=share)
    generate(tmp_path / "other", count=9, seed=5, dicom_share=1.0 - share)
    for row in read_labels(tmp_path / "mixed"):
        other = next((tmp_path / "other").glob(f"{row.path.rsplit('.', 1)[0]}.*"))
        pixels = read_slice(other.read_bytes()).pixels
        mine = read_slice((tmp_path / "mixed" / row.path).read_bytes()).pixels
        assert np.abs(mine - pixels).max() < 0.004


def test_a_thousand_slices_take_seconds(tmp_path: Path) -> None:
    start = time.process_time()
    generate(tmp_path, count=1000, seed=5)
    assert time.process_time() - start < 10


def test_texture_tells_the_classes_apart_and_intensity_and_size_do_not(tmp_path: Path) -> None:
    generate(tmp_path, count=450, seed=11)
    rows = read_labels(tmp_path)
    values = np.array([list(extract(load_pixels(tmp_path, row, 64)).values()) for row in rows])
    labels = np.array([row.label for row in rows])
    training = np.array([row.split == "train" for row in rows])

    def accuracy(*beginnings: str) -> float:
        taken = [name.startswith(beginnings) for name in FEATURE_NAMES]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(values[training][:, taken], labels[training])
        return float(model.score(values[~training][:, taken], labels[~training]))

    assert accuracy("stat_mean", "morph_volume") < 0.5
    assert accuracy("glcm_", "glrlm_") > 0.75


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"count": 8}, "count is 8"),
        ({"seed": -1}, "seed is -1"),
        ({"size": 16}, "size is 16"),
        ({"dicom_share": 1.5}, "dicom_share is 1.5"),
        ({"dicom_share": float("nan")}, "dicom_share is nan"),
    ],
    ids=str,
)
def test_impossible_wishes_are_refused_before_anything_is_written(
    tmp_path: Path, wrong: dict[str, float], says: str
) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        generate(tmp_path / "new", **({"count": 30, "seed": 1} | wrong))  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_the_command_writes_a_set_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path / "set"), "--count", "12", "--seed", "3"]) == 0
    assert len(read_labels(tmp_path / "set")) == 12
    assert str(tmp_path / "set") in capsys.readouterr().out


def test_the_command_says_in_one_sentence_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    finished = subprocess.run(
        [sys.executable, "-m", "ct_scan_mlops.data.synthetic", "--output", str(file / "set")],
        env=os.environ,  # noqa: TID251 - the child is to find the packages where we did
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr
    assert f"{file} is a file" in finished.stderr
