"""The radiomics features of a slice, and the command that makes a feature set of a data directory.

A slice is brought to 64 x 64 pixels, which bounds the time and makes features comparable. Its
region of interest is cut into 32 grey levels of 12.5 HU (IBSI: fixed bin size, from the window's
lower end), and texture is aggregated as "2D, merged": the four directions of the slice are added
up in one matrix.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np

from ct_scan_mlops.data.dataset import load_pixels, read_labels
from ct_scan_mlops.data.limits import Pixels
from ct_scan_mlops.data.reading import resized
from ct_scan_mlops.errors import SettingsInvalid, WorkloadError
from ct_scan_mlops.features import cooccurrence, intensity, run_length, storage
from ct_scan_mlops.features.numbers import Levels, Region, directions
from ct_scan_mlops.features.region import region_of_interest
from ct_scan_mlops.features.selection import select_top
from ct_scan_mlops.features.shape import shape
from ct_scan_mlops.features.storage import FeatureSet
from ct_scan_mlops.outputs import output_directory

SLICE_SIZE: Final = 64
GREY_LEVELS: Final = 32
_DIRECTIONS: Final = directions(2)


def extract(pixels: Pixels) -> dict[str, float]:
    """All features by name; every one is a finite number."""
    small = resized(pixels, SLICE_SIZE)
    region = region_of_interest(small)
    frame = _frame(region)
    region, values = region[frame], small[frame].astype(np.float64)
    levels = _levels(values, region)
    pairs = cooccurrence.matrix(levels, GREY_LEVELS, _DIRECTIONS)
    runs = run_length.matrix(levels, GREY_LEVELS, _DIRECTIONS)
    return (
        intensity.statistics(values[region])
        | intensity.histogram(levels, GREY_LEVELS)
        | shape(region, values, (1.0, 1.0))
        | cooccurrence.features(pairs)
        | run_length.features(runs, int(region.sum()) * len(_DIRECTIONS))
    )


def _frame(region: Region) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _levels(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], region: Region) -> Levels:
    binned = np.clip(np.floor(values * GREY_LEVELS) + 1, 1, GREY_LEVELS)
    return np.where(region, binned, 0).astype(np.intp)


FEATURE_NAMES: Final[tuple[str, ...]] = tuple(extract(np.zeros((4, 4), dtype=np.float32)))


def extract_set(data: Path, count: int | None) -> FeatureSet:
    """The features of every slice: the `count` that tell most, or all.

    Selection, mean and scale come from the training split, so that the others stay unseen.
    """
    rows = read_labels(data)
    found = [extract(load_pixels(data, row, SLICE_SIZE)) for row in rows]
    values = np.array([[features[name] for name in FEATURE_NAMES] for features in found])
    training = np.array([row.split == "train" for row in rows])
    if not training.any():
        message = f"{data} has no slices of the split train, from which features are selected."
        raise SettingsInvalid(message)
    names = FEATURE_NAMES
    if count is not None:
        labels = [row.label for row in rows if row.split == "train"]
        names = select_top(values[training], labels, FEATURE_NAMES, count)
    chosen = values[:, [FEATURE_NAMES.index(name) for name in names]]
    spread = chosen[training].std(axis=0)
    return FeatureSet(
        names=names,
        mean=tuple(chosen[training].mean(axis=0).tolist()),
        # What never varies carries nothing, and must not be divided by nothing.
        scale=tuple(np.where(spread > 1e-12, spread, 1.0).tolist()),
        rows={row.path: tuple(line) for row, line in zip(rows, chosen.tolist(), strict=True)},
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ct_scan_mlops.features.extraction",
        description="Extracts radiomics features of all slices into a feature set.",
    )
    parser.add_argument("--data", type=Path, required=True, help="directory with labels.csv")
    parser.add_argument("--output", type=Path, required=True, help="directory for the set")
    parser.add_argument("--features", choices=("top_features", "all"), default="top_features")
    parser.add_argument("--count", type=int, default=16, help="how many top features (16)")
    given = parser.parse_args(arguments)
    try:
        if not 0 < given.count <= len(FEATURE_NAMES):
            message = f"--count is {given.count}; there are 1 to {len(FEATURE_NAMES)} features."
            raise SettingsInvalid(message)
        output_directory(given.output)
        count = given.count if given.features == "top_features" else None
        feature_set = extract_set(given.data, count)
        path = storage.save(feature_set, given.output, given.features)
    except WorkloadError as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.exit_code
    sys.stdout.write(
        f"Wrote {len(feature_set.names)} features of {len(feature_set.rows)} slices to {path}.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
