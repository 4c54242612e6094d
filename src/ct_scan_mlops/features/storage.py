"""Feature sets on disk: a JSON document of a stated version, and the same as a pickle of builtins.

The JSON is what to use. The pickle is there because such projects pass a `features_*.pkl` around.
It may hold numbers, text, tuples, lists and dicts: a file with an instruction for anything else is
refused before the first one is carried out.
"""

import io
import json
import math
import pickle
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from ct_scan_mlops.errors import FeaturesRefused
from ct_scan_mlops.outputs import output_directory, write_whole

FORMAT: Final = "ct-scan-features"
VERSION: Final = 1

MOST_BYTES: Final = 32 * 1024 * 1024
MOST_NAMES: Final = 1024

_OPCODES: Final = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET", "NONE", "NEWTRUE"),
        *("NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE"),
        *("BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST"),
        *("APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    )
)
"""What `pickle` writes for builtins at protocols 4 and 5, and nothing that calls or looks up.

Earlier protocols number their memo: one instruction makes room for two thousand million entries.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """Which features a model takes, how they are scaled, and their raw values for each slice.

    `mean` and `scale` come from the training split alone. `rows` has a slice's path as labels.csv
    has it.
    """

    version: int = VERSION
    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    rows: Mapping[str, tuple[float, ...]]

    def standardised(self, values: Mapping[str, float]) -> NDArray[np.float32]:
        """The features in their order, centred and scaled; others in `values` are left aside."""
        missing = [name for name in self.names if name not in values]
        if missing:
            message = f"The features {', '.join(missing)} are missing. Extract them from the slice."
            raise FeaturesRefused(message)
        raw = np.array([values[name] for name in self.names], dtype=np.float64)
        scaled: NDArray[np.float32] = ((raw - self.mean) / self.scale).astype(np.float32)
        return scaled


class _BuiltinsOnly(pickle.Unpickler):
    """The second lock: whatever the instructions are, no class or function is ever looked up."""

    def find_class(self, module: str, name: str) -> NoReturn:
        message = f"it asks for {module}.{name}"
        raise pickle.UnpicklingError(message)


def save(feature_set: FeatureSet, directory: Path, name: str = "top_features") -> Path:
    """Writes both files, each whole or not at all, and returns the path of the JSON one."""
    output_directory(directory)
    document = _document(feature_set)
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(directory / f"features_{name}.pkl", pickle.dumps(document, protocol=4))
    path = directory / f"features_{name}.json"
    write_whole(path, text.encode())
    return path


def load(path: Path) -> FeatureSet:
    """Reads either file. Nothing in it is executed, whatever it holds."""
    return decode(read_file(path, _refused), path)


def decode(data: bytes, path: Path) -> FeatureSet:
    """Reads what came from `path`, wherever that is: its name tells which of the two it is."""
    document = _unpickled(path, data) if path.suffix == ".pkl" else _parsed(path, data)
    return _feature_set(path, document)


def _document(feature_set: FeatureSet) -> dict[str, object]:
    return {
        "format": FORMAT,
        "version": feature_set.version,
        "names": list(feature_set.names),
        "mean": list(feature_set.mean),
        "scale": list(feature_set.scale),
        "rows": {path: list(values) for path, values in feature_set.rows.items()},
    }


def _refused(path: Path, why: str) -> FeaturesRefused:
    message = (
        f"{path} is no feature set: {why}. "
        "Make one with python -m ct_scan_mlops.features.extraction."
    )
    return FeaturesRefused(message)


def read_file(path: Path, refused: Callable[[Path, str], FeaturesRefused]) -> bytes:
    """The bytes of a regular file of at most MOST_BYTES; `refused` makes the error that tells."""
    try:
        # A pipe or a device would be waited for, or be without an end.
        if path.exists() and not path.is_file():
            raise refused(path, "it is no file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as failure:
        raise refused(path, f"it cannot be read ({failure.strerror})") from failure
    if len(data) > MOST_BYTES:
        raise refused(path, f"it has more than {MOST_BYTES:,} bytes")
    return data


def _unpickled(path: Path, data: bytes) -> object:
    try:
        for opcode, _, _ in pickletools.genops(data):
            if opcode.name not in _OPCODES:
                raise _refused(path, f"it holds the pickle instruction {opcode.name}")
        return _BuiltinsOnly(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, LookupError, ValueError) as failure:
        raise _refused(path, f"it cannot be unpickled ({failure})") from failure
    except (AttributeError, TypeError) as failure:
        raise _refused(path, f"its instructions do not fit its values ({failure})") from failure


def _parsed(path: Path, data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as failure:
        raise _refused(path, f"it is no JSON ({failure})") from failure


def _feature_set(path: Path, document: object) -> FeatureSet:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _refused(path, f"it does not say format {FORMAT!r}")
    if document.get("version") != VERSION:
        version = document.get("version")
        raise _refused(path, f"it is of version {version!r}, and version {VERSION} is read")
    names = _names(path, document.get("names"))
    mean = _numbers(path, "mean", document.get("mean"), len(names))
    scale = _numbers(path, "scale", document.get("scale"), len(names))
    if min(scale) <= 0:
        raise _refused(path, "a scale is not above zero")
    rows = document.get("rows")
    if not isinstance(rows, dict) or not all(isinstance(key, str) for key in rows):
        raise _refused(path, "rows is no mapping of paths")
    values = {key: _numbers(path, f"row {key!r}", row, len(names)) for key, row in rows.items()}
    return FeatureSet(names=names, mean=mean, scale=scale, rows=values)


def _names(path: Path, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_NAMES:
        raise _refused(path, f"names is no list of 1 to {MOST_NAMES}")
    if not all(isinstance(name, str) and name for name in value) or len(set(value)) != len(value):
        raise _refused(path, "names are not all text and different")
    return tuple(value)


def _numbers(path: Path, what: str, value: object, length: int) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or len(value) != length:
        raise _refused(path, f"{what} is no list of {length} numbers")
    if not all(type(number) in (int, float) for number in value):
        raise _refused(path, f"{what} holds what is no number")
    try:
        numbers = tuple(float(number) for number in value)
    except OverflowError as failure:
        raise _refused(path, f"{what} holds a number beyond all bounds") from failure
    if not all(math.isfinite(number) for number in numbers):
        raise _refused(path, f"{what} holds a number beyond all bounds")
    return numbers
