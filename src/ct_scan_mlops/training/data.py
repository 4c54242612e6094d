"""The slices of a run as Lightning takes them: read from disk when they are needed.

All randomness is the order of the training slices, from a generator seeded by the run.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ct_scan_mlops.data.dataset import LABELS_FILE, SPLITS, Row, load_pixels, read_labels
from ct_scan_mlops.data.synthetic import generate
from ct_scan_mlops.errors import DataInvalid, SettingsInvalid
from ct_scan_mlops.models.description import ModelDescription
from ct_scan_mlops.training.configuration import DataConfiguration

# Where torch's workers hand over batches.
SHARED_MEMORY = Path("/dev/shm")
BATCHES_AHEAD = 2

Sample = tuple[Tensor, Tensor, int]
FeatureRows = Mapping[str, Mapping[str, float]]
"""Raw features by the slice's path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSet:
    """A complete data set: each split has slices, and each was there to be read."""

    root: Path
    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    digest: str

    def of(self, split: str) -> list[Row]:
        return [row for row in self.rows if row.split == split]

    def counts(self, split: str) -> Counter[str]:
        return Counter(row.label for row in self.of(split))


def slice_set(settings: DataConfiguration, *, image_size: int) -> SliceSet:
    """Read the labels and every slice once. Generates the set if it may and there is none."""
    if not (settings.root / LABELS_FILE).exists():
        _make(settings)
    rows = tuple(read_labels(settings.root))
    classes = tuple(sorted({row.label for row in rows if row.split == "train"}))
    lacking = [split for split in SPLITS if all(row.split != split for row in rows)]
    foreign = sorted({row.label for row in rows} - set(classes))
    if lacking or foreign or len(classes) < 2:
        message = (
            f"{settings.root / LABELS_FILE} cannot be learnt from: it needs slices in each of "
            f"{', '.join(SPLITS)} and at least two labels, all of them in train. "
            f"Empty: {', '.join(lacking) or 'none'}; not in train: {', '.join(foreign) or 'none'}."
        )
        raise DataInvalid(message)
    # A slice that cannot be read is told now, and not when an hour of training has come to it.
    for row in rows:
        load_pixels(settings.root, row, image_size)
    digest = _digest(settings.root, rows)
    return SliceSet(root=settings.root, rows=rows, classes=classes, digest=digest)


def _make(settings: DataConfiguration) -> None:
    if not settings.synthetic:
        message = (
            f"There is no {settings.root / LABELS_FILE}. Name the data with data.root=DIRECTORY; "
            "or make synthetic slices by data.synthetic=true, or by "
            f"python -m ct_scan_mlops.data.synthetic --output {settings.root}"
        )
        raise DataInvalid(message)
    generate(settings.root, count=settings.synthetic_count, seed=settings.synthetic_seed)


def _digest(root: Path, rows: Sequence[Row]) -> str:
    """SHA-256 over paths, labels, splits and contents, in the table's order."""
    total = hashlib.sha256()
    for row in rows:
        content = hashlib.sha256((root / row.path).read_bytes()).hexdigest()
        total.update(f"{row.path},{row.label},{row.split},{content}\n".encode())
    return total.hexdigest()


class SliceDataset(Dataset[Sample]):
    """The slices of one split, each with its standardised features and its class by number."""

    def __init__(
        self,
        slices: SliceSet,
        split: str,
        description: ModelDescription,
        features: FeatureRows,
    ) -> None:
        self._root = slices.root
        self._rows = slices.of(split)
        self._size = description.image_size
        self._classes = {name: number for number, name in enumerate(description.classes)}
        self._features = [
            description.standardised(features.get(row.path, {})) for row in self._rows
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        row = self._rows[index]
        pixels = load_pixels(self._root, row, self._size)
        return (
            torch.from_numpy(pixels)[None],
            torch.from_numpy(self._features[index]),
            self._classes[row.label],
        )


class SliceData(LightningDataModule):
    """Batches of the splits; only those of training are shuffled."""

    def __init__(
        self,
        slices: SliceSet,
        description: ModelDescription,
        features: FeatureRows,
        *,
        settings: DataConfiguration,
        seed: int,
    ) -> None:
        super().__init__()
        check_shared_memory(settings, description)
        self._sets = {split: SliceDataset(slices, split, description, features) for split in SPLITS}
        self._settings = settings
        self._seed = seed

    def train_dataloader(self) -> DataLoader[Sample]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Sample]:
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[Sample]:
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader[Sample]:
        workers = self._settings.num_workers
        return DataLoader(
            self._sets[split],
            batch_size=self._settings.batch_size,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(self._seed),
            num_workers=workers,
            prefetch_factor=BATCHES_AHEAD if workers else None,
            persistent_workers=workers > 0,
        )


def check_shared_memory(settings: DataConfiguration, description: ModelDescription) -> None:
    """Refuse workers for whose batches there is no room: they would die of a bus error."""
    if settings.num_workers == 0:
        return
    values = description.image_size**2 + len(description.feature_names) + 2
    # Two loaders live at a time, training's and validation's.
    needed = 2 * settings.num_workers * (BATCHES_AHEAD + 1) * settings.batch_size * values * 4
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        message = (
            f"data.num_workers={settings.num_workers} needs {needed >> 20} MiB of shared memory "
            f"and {SHARED_MEMORY} has {free >> 20} MiB free. Start the container with "
            "--shm-size=1g, or leave data.num_workers=0."
        )
        raise SettingsInvalid(message)
