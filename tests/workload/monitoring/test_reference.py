"""Which files are references, and that what is wrong with the others is said."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ct_scan_mlops.errors import FeaturesRefused
from ct_scan_mlops.features import storage
from ct_scan_mlops.monitoring import reference as references

if TYPE_CHECKING:
    from pathlib import Path

    from tests.workload.monitoring.conftest import Source

ROWS = "".join(f"{number},{number / 2}\n" for number in range(20))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "other.csv"
    path.write_text(text)
    return path


def test_a_csv_gives_its_rows_in_the_order_of_its_columns(source: Source, tmp_path: Path) -> None:
    rows = source.rows(30, seed=1)
    reference = references.load(source.write(tmp_path / "some.csv", rows))
    assert reference.names == source.names
    assert np.array_equal(reference.values, rows[:, : len(source.names)])
    assert reference.embeddings is not None
    assert np.array_equal(reference.embeddings, rows[:, len(source.names) :])


def test_components_are_ordered_by_number_and_labels_are_no_features(tmp_path: Path) -> None:
    header = "path,embedding_1,a,embedding_0,label,split\n"
    rows = "".join(f"x.png,1,{number},0,benign,train\n" for number in range(20))
    reference = references.load(written(tmp_path, header + rows))
    assert reference.names == ("a",)
    assert reference.embeddings is not None
    assert reference.embeddings[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("suffix", ["json", "pkl"])
def test_the_files_of_the_extraction_are_references(tmp_path: Path, suffix: str) -> None:
    rows = {f"{number}.png": (float(number), 1.0) for number in range(25)}
    feature_set = storage.FeatureSet(names=("a", "b"), mean=(0, 0), scale=(1, 1), rows=rows)
    storage.save(feature_set, tmp_path)
    reference = references.load(tmp_path / f"features_top_features.{suffix}")
    assert reference.names == ("a", "b")
    assert reference.values[:, 0].tolist() == [float(number) for number in range(25)]
    assert reference.embedding_width == 0


def test_the_identity_follows_the_content_and_not_the_file(source: Source, tmp_path: Path) -> None:
    rows = source.rows(30, seed=1)
    first, copy = (
        references.load(source.write(tmp_path / name, rows)) for name in ("a.csv", "b.csv")
    )
    rows[0, 0] = np.nextafter(rows[0, 0], 9)
    other = references.load(source.write(tmp_path / "c.csv", rows))
    assert first.identity == copy.identity != other.identity


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 features"),
        ("a,b\n", "0 rows, and 20 to"),
        ("a,b\n" + ROWS.removesuffix("19,9.5\n"), "19 rows"),
        ("a,a\n" + ROWS, "two columns have the same name"),
        ("a,b\n" + ROWS + "1\n", "line 22 has 1 cells, and the first has 2"),
        ("a,b\n" + ROWS + "1,nan\n", "in line 22, 'b' is 'nan', no number"),
        ("a,b\n" + ROWS + "1,1e999\n", "in line 22, 'b' is '1e999', no number"),
        ("a,b\n" + ROWS + "1,\n", "in line 22, 'b' is '', no number"),
        ("a,<script>\n" + ROWS, "'<script>' is no name for a feature"),
        ("a,embedding_1\n" + ROWS, "embedding is not in columns embedding_0 to"),
        ("a,embedding_0\n" + ROWS + "1,1e31\n", "component beyond 1e+30"),
        ('a,b\n1,"2\n', "is no CSV"),
        ("a,b\n" + ROWS + "1,\0\n", "is"),
        (",".join(f"f{number}" for number in range(513)) + "\n", "513 features"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FeaturesRefused) as caught:
        references.load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Set REFERENCE_PATH to" in str(caught.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(FeaturesRefused):
            references.load(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(b"a,\xff\xfe\n1,2\n")
    with pytest.raises(FeaturesRefused, match="UTF-8"):
        references.load(path)


def test_a_file_that_is_too_large_is_not_read_on(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    with path.open("wb") as file:
        file.truncate(storage.MOST_BYTES + 1)
    with pytest.raises(FeaturesRefused, match="more than 33,554,432 bytes"):
        references.load(path)
