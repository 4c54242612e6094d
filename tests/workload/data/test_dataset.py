"""labels.csv is believed only as far as it is complete and stays in its directory."""

from pathlib import Path

import pytest

from ct_scan_mlops.data.dataset import Row, load_pixels, read_labels
from ct_scan_mlops.errors import DataInvalid

HEAD = "path,label,split\n"


def test_rows_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"{HEAD}b.png,benign,test\na.png,normal,train\n")
    assert read_labels(tmp_path) == [
        Row(path="b.png", label="benign", split="test"),
        Row(path="a.png", label="normal", split="train"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it needs path,label,split"),
        ("path,label\na.png,benign\n", "it needs path,label,split"),
        (HEAD, "names no slices"),
        (f"{HEAD}a.png,benign\n", "Line 2"),
        (f"{HEAD}a.png,benign,train\nb.png,,train\n", "Line 3"),
        (f"{HEAD}a.png,benign,train,more\n", "Line 2"),
        (f"{HEAD}a.png,benign,holdout\n", "holdout"),
        (f"{HEAD}/etc/passwd,benign,train\n", "stay below"),
        (f"{HEAD}a/../../b.png,benign,train\n", "stay below"),
    ],
)
def test_a_table_that_cannot_be_believed_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataInvalid, match=says):
        read_labels(tmp_path)


def test_a_missing_table_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"ct_scan_mlops\.data\.synthetic --output"):
        read_labels(tmp_path)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"path\xff\xfe")
    with pytest.raises(DataInvalid, match="cannot be read"):
        read_labels(tmp_path)


@pytest.mark.parametrize("data", [None, b"no picture"])
def test_a_slice_that_is_missing_or_refused_is_named(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataInvalid, match=r"a\.png"):
        load_pixels(tmp_path, Row(path="a.png", label="benign", split="train"), 64)
