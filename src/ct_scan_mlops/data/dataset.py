"""labels.csv and the slices it names: path, label and split, one row a slice."""

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ct_scan_mlops.data.limits import Pixels
from ct_scan_mlops.data.reading import read_slice, resized
from ct_scan_mlops.errors import DataInvalid, SliceRefused

LABELS_FILE: Final = "labels.csv"
COLUMNS: Final = ("path", "label", "split")
SPLITS: Final = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One slice; `path` is relative to the data directory and written with slashes."""

    path: str
    label: str
    split: str


def read_labels(root: Path) -> list[Row]:
    table = root / LABELS_FILE
    try:
        text = table.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        message = (
            f"{table} cannot be read ({failure}). Make a data set with "
            f"python -m ct_scan_mlops.data.synthetic --output {root}, or mount one there."
        )
        raise DataInvalid(message) from failure
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        message = f"{table} has the columns {reader.fieldnames}; it needs {','.join(COLUMNS)}."
        raise DataInvalid(message)
    rows = [_row(table, number, record) for number, record in enumerate(reader, start=2)]
    if not rows:
        message = f"{table} names no slices. Add rows of {','.join(COLUMNS)}."
        raise DataInvalid(message)
    return rows


def load_pixels(root: Path, row: Row, size: int) -> Pixels:
    """The slice of a row as a square of `size`."""
    try:
        return resized(read_slice((root / row.path).read_bytes()).pixels, size)
    except OSError as failure:
        message = f"{root / row.path}, which {LABELS_FILE} names, cannot be read ({failure})."
        raise DataInvalid(message) from failure
    except SliceRefused as refusal:
        message = f"{root / row.path}: {refusal}"
        raise DataInvalid(message) from refusal


def _row(table: Path, number: int, record: dict[str | None, str | None]) -> Row:
    path, label, split = (record.get(column) for column in COLUMNS)
    if not path or not label or None in record:
        message = f"Line {number} of {table} is not complete. It needs {','.join(COLUMNS)}."
        raise DataInvalid(message)
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        message = f"Line {number} of {table} names {path!r}; paths stay below {table.parent}."
        raise DataInvalid(message)
    if split not in SPLITS:
        message = f"Line {number} of {table} has the split {split!r}; it is one of {SPLITS}."
        raise DataInvalid(message)
    return Row(path=path, label=label, split=split)
