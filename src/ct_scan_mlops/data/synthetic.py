"""Makes a data set of synthetic CT slices: the same count, seed and size give the same bytes.

Every slice has a random source of its own, from the seed and its number. So slices do not depend on
how many there are, and none is in two splits. Splits have each class in the same share. Most slices
are PNG of 8 bits, some of 16, and `dicom_share` of them DICOM files with rescale and window.
"""

import argparse
import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ct_scan_mlops.data.dataset import COLUMNS, LABELS_FILE
from ct_scan_mlops.data.phantom import TISSUES, slice_hounsfield
from ct_scan_mlops.data.reading import WINDOW_CENTRE_HU, WINDOW_WIDTH_HU, windowed
from ct_scan_mlops.errors import SettingsInvalid, WorkloadError
from ct_scan_mlops.outputs import output_directory, write_whole

CLASSES: Final[tuple[str, ...]] = tuple(TISSUES)
HELD_OUT_SHARE: Final = 0.15
"""Of each class, for validation, and again for the test."""

_LEAST_COUNT: Final = 3 * len(CLASSES)
_MOST_COUNT: Final = 100_000
_SIXTEEN_BIT_SHARE: Final = 0.2
_RESCALE_INTERCEPT: Final = -1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    number: int
    label: str
    split: str
    kind: str

    @property
    def path(self) -> str:
        ending = "dcm" if self.kind == "dicom" else "png"
        return f"{self.split}/{self.label}/{self.number:05d}.{ending}"


def generate(
    root: Path, *, count: int, seed: int, size: int = 64, dicom_share: float = 0.2
) -> None:
    """Writes the slices and, last, labels.csv, so that a table stands for a complete data set."""
    _check(count, seed, size, dicom_share)
    output_directory(root)
    plan = _plan(count, seed, dicom_share)
    for directory in sorted({(root / planned.path).parent for planned in plan}):
        output_directory(directory)
    for planned in plan:
        rng = np.random.default_rng((seed, planned.number))
        hounsfield = slice_hounsfield(TISSUES[planned.label], size, rng)
        write_whole(root / planned.path, _encoded(hounsfield, planned, seed))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((planned.path, planned.label, planned.split) for planned in plan)
    write_whole(root / LABELS_FILE, table.getvalue().encode())


def _check(count: int, seed: int, size: int, dicom_share: float) -> None:
    if not _LEAST_COUNT <= count <= _MOST_COUNT:
        message = f"count is {count}; a data set has {_LEAST_COUNT} to {_MOST_COUNT} slices."
        raise SettingsInvalid(message)
    if seed < 0:
        message = f"seed is {seed}; write a whole number that is not negative, for example 7."
        raise SettingsInvalid(message)
    if not 32 <= size <= 512:
        message = f"size is {size}; a slice has 32 to 512 pixels a side, 64 is what models expect."
        raise SettingsInvalid(message)
    if not 0.0 <= dicom_share <= 1.0:
        message = f"dicom_share is {dicom_share}; write a share from 0 to 1, for example 0.2."
        raise SettingsInvalid(message)


def _plan(count: int, seed: int, dicom_share: float) -> list[_Planned]:
    """Classes take turns; within each class chance decides about split and file format."""
    rng = np.random.default_rng((seed, 2**32 - 1))
    plan = []
    for start, label in enumerate(CLASSES):
        numbers = range(start, count, len(CLASSES))
        splits = _splits(len(numbers), rng)
        draws = rng.random(len(numbers))
        plan += [
            _Planned(number=number, label=label, split=split, kind=_kind(draw, dicom_share))
            for number, split, draw in zip(numbers, splits, draws, strict=True)
        ]
    return sorted(plan, key=lambda planned: planned.number)


def _splits(length: int, rng: np.random.Generator) -> list[str]:
    held_out = max(1, round(length * HELD_OUT_SHARE))
    ordered = ["test"] * held_out + ["validation"] * held_out
    ordered += ["train"] * (length - len(ordered))
    return [ordered[place] for place in rng.permutation(length)]


def _kind(draw: float, dicom_share: float) -> str:
    if draw < dicom_share:
        return "dicom"
    return "png16" if draw < dicom_share + _SIXTEEN_BIT_SHARE * (1.0 - dicom_share) else "png8"


def _encoded(hounsfield: NDArray[np.float64], planned: _Planned, seed: int) -> bytes:
    if planned.kind == "dicom":
        return _dicom(hounsfield, planned, seed)
    pixels = windowed(hounsfield.astype(np.float32))
    values = (
        np.rint(pixels * 65535).astype(np.uint16)
        if planned.kind == "png16"
        else np.rint(pixels * 255).astype(np.uint8)
    )
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def _dicom(hounsfield: NDArray[np.float64], planned: _Planned, seed: int) -> bytes:
    """A CT image with UIDs made of seed and number, and a date that is always the same."""
    stored = np.clip(np.rint(hounsfield - _RESCALE_INTERCEPT), 0, 4095).astype("<u2")
    uids = [generate_uid(entropy_srcs=[kind, str(seed), str(planned.number)]) for kind in "abc"]
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = uids[0]
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, uids[0]
    image.SeriesInstanceUID, image.StudyInstanceUID = uids[1], uids[2]
    image.StudyDate = image.ContentDate = "20200101"
    image.StudyTime = image.ContentTime = "120000"
    image.Modality = "CT"
    image.PatientName, image.PatientID = "Synthetic^Slice", f"SYNTHETIC-{planned.number:05d}"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, _RESCALE_INTERCEPT, "HU"
    image.WindowCenter, image.WindowWidth = int(WINDOW_CENTRE_HU), int(WINDOW_WIDTH_HU)
    image.PixelData = stored.tobytes()
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ct_scan_mlops.data.synthetic", description="Makes synthetic CT slices."
    )
    parser.add_argument("--output", type=Path, required=True, help="the data directory to make")
    parser.add_argument("--count", type=int, default=900, help="slices in all (900)")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same bytes (7)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--dicom-share", type=float, default=0.2, help="share of DICOM files (0.2)")
    given = parser.parse_args(arguments)
    try:
        generate(
            given.output,
            count=given.count,
            seed=given.seed,
            size=given.size,
            dicom_share=given.dicom_share,
        )
    except WorkloadError as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.exit_code
    sys.stdout.write(f"Wrote {given.count} slices to {given.output}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
