"""What the window is compared with: feature rows, and perhaps embeddings, of the training data.

A reference is a file that whoever runs the service puts beside the model. There is no POST for it:
who may send observations must not be able to declare that the drift is how it should be.

A CSV has a feature in each column; `path`, `label` and `split` may be among them, as in
labels.csv, and `embedding_0`, `embedding_1`, … hold the model's embedding of the same slice.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ct_scan_mlops.errors import FeaturesRefused
from ct_scan_mlops.features import storage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

LEAST_ROWS = 20
MOST_ROWS = 20_000
MOST_FEATURES = 512
MOST_EMBEDDING = 4096
# Beyond it a square no longer fits into the arithmetic of the embeddings' distances.
LARGEST_COMPONENT = 1e30

NOT_FEATURES = frozenset({"path", "label", "split"})
EMBEDDING = re.compile(r"embedding_(0|[1-9][0-9]{0,3})")
# Names go into metrics, a web page and messages as they are.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The rows, and what identifies them: another reference has a window of its own."""

    names: tuple[str, ...]
    values: Floats
    embeddings: Floats | None
    identity: str

    @property
    def embedding_width(self) -> int:
        return 0 if self.embeddings is None else self.embeddings.shape[1]


def load(path: Path) -> Reference:
    """Reads a CSV of feature rows, or the JSON or pickle of the features' extraction."""
    if path.suffix == ".csv":
        names, values, embeddings = _csv(path)
    else:
        feature_set = storage.load(path)
        names, rows = feature_set.names, list(feature_set.rows.values())
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
        embeddings = None
    _check(path, names, len(values))
    return Reference(
        names=names,
        values=values,
        embeddings=embeddings,
        identity=_identity(names, values, embeddings),
    )


def _check(path: Path, names: Sequence[str], rows: int) -> None:
    if not 0 < len(names) <= MOST_FEATURES:
        raise _refused(path, f"it has {len(names)} features, and 1 to {MOST_FEATURES} are watched")
    for name in names:
        if not NAME.fullmatch(name):
            raise _refused(path, f"{ascii(name)[:100]} is no name for a feature")
    if not LEAST_ROWS <= rows <= MOST_ROWS:
        raise _refused(path, f"it has {rows} rows, and {LEAST_ROWS} to {MOST_ROWS:,} are compared")


def _refused(path: Path, why: str) -> FeaturesRefused:
    message = (
        f"{path} is no reference: {why}. Set REFERENCE_PATH to a features_*.json of "
        "python -m ct_scan_mlops.features.extraction, or to a CSV with a column for each feature."
    )
    return FeaturesRefused(message)


def _identity(names: Sequence[str], values: Floats, embeddings: Floats | None) -> str:
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    for array in (values, embeddings):
        if array is not None:
            digest.update(repr(array.shape).encode() + array.astype("<f8").tobytes())
    return f"sha256:{digest.hexdigest()}"


def _csv(path: Path) -> tuple[tuple[str, ...], Floats, Floats | None]:
    text = io.TextIOWrapper(
        io.BytesIO(storage.read_file(path, _refused)), encoding="utf-8-sig", newline=""
    )
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, [])
        features, embedding = _columns(path, header)
        columns = [*features, *embedding]
        rows = [_row(path, reader.line_num, header, row, columns) for row in reader]
    except csv.Error as failure:
        raise _refused(path, f"line {reader.line_num} is no CSV ({failure})") from failure
    except UnicodeDecodeError as failure:
        raise _refused(path, "it is not in UTF-8") from failure
    both = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
    values, components = np.hsplit(both, [len(features)])
    if np.abs(components).max(initial=0.0) > LARGEST_COMPONENT:
        raise _refused(path, f"an embedding has a component beyond {LARGEST_COMPONENT:g}")
    names = tuple(header[column] for column in features)
    return names, values, components if embedding else None


def _columns(path: Path, header: list[str]) -> tuple[list[int], list[int]]:
    """The places of the features, and of the embedding's components in their order."""
    if len(set(header)) != len(header):
        raise _refused(path, "two columns have the same name")
    components = {}
    features = []
    for column, name in enumerate(header):
        if match := EMBEDDING.fullmatch(name):
            components[int(match[1])] = column
        elif name not in NOT_FEATURES:
            features.append(column)
    if sorted(components) != list(range(len(components))) or len(components) > MOST_EMBEDDING:
        most = MOST_EMBEDDING - 1
        raise _refused(path, f"its embedding is not in columns embedding_0 to at most _{most}")
    return features, [components[number] for number in sorted(components)]


def _row(path: Path, line: int, header: list[str], row: list[str], columns: list[int]) -> Floats:
    if len(row) != len(header):
        raise _refused(path, f"line {line} has {len(row)} cells, and the first has {len(header)}")
    # An array at once: a list of Python's numbers would take five times as much.
    return np.array([_number(path, line, header[column], row[column]) for column in columns])


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _refused(
            path, f"in line {line}, {ascii(name)[:100]} is {ascii(text)[:40]}, no number"
        )
    return number
