"""How slices are fed, and when there is no room to feed them by workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from ct_scan_mlops.errors import SettingsInvalid
from ct_scan_mlops.models.description import ModelDescription
from ct_scan_mlops.training.configuration import DataConfiguration
from ct_scan_mlops.training.data import SliceData, SliceSet, check_shared_memory, slice_set

if TYPE_CHECKING:
    from pathlib import Path

SINGLE = ModelDescription(kind="single", classes=("benign", "malignant", "normal"), image_size=32)


def settings(root: Path, **changes: int) -> DataConfiguration:
    plain = {"batch_size": 16, "num_workers": 0, "synthetic_count": 60, "synthetic_seed": 7}
    return DataConfiguration.model_validate({"root": root, "synthetic": False, **plain, **changes})


@pytest.fixture(scope="module")
def tiny(slices: Path) -> SliceSet:
    return slice_set(settings(slices), image_size=32)


def order(tiny: SliceSet, seed: int, **changes: int) -> list[torch.Tensor]:
    data = SliceData(tiny, SINGLE, {}, settings=settings(tiny.root, **changes), seed=seed)
    return [classes for _, _, classes in data.train_dataloader()]


def test_the_order_depends_on_the_seed_alone(tiny: SliceSet) -> None:
    first, again, other = (torch.cat(order(tiny, seed)) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_workers_feed_the_same(tiny: SliceSet) -> None:
    alone, fed = order(tiny, 1), order(tiny, 1, num_workers=1)

    assert all(torch.equal(one, other) for one, other in zip(alone, fed, strict=True))


def test_the_digest_tells_data_apart(tiny: SliceSet, slices: Path, tmp_path: Path) -> None:
    for row in tiny.rows:
        (tmp_path / row.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / row.path).write_bytes((slices / row.path).read_bytes())
    table = (slices / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(table)

    assert slice_set(settings(tmp_path), image_size=32).digest == tiny.digest
    swapped = table.replace("benign,train", "normal,train", 1)
    (tmp_path / "labels.csv").write_text(swapped)
    assert slice_set(settings(tmp_path), image_size=32).digest != tiny.digest


def test_workers_without_room_are_refused_with_the_remedy(tmp_path: Path) -> None:
    greedy = settings(tmp_path, num_workers=64, batch_size=10**9)

    with pytest.raises(SettingsInvalid, match=r"shared memory.*--shm-size.*num_workers=0"):
        check_shared_memory(greedy, SINGLE)
    check_shared_memory(greedy.model_copy(update={"num_workers": 0}), SINGLE)
