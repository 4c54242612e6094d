"""Selection takes what tells about the label, once, and always the same."""

import numpy as np
import pytest

from ct_scan_mlops.features.selection import select_top

LABELS = ["a", "b", "c"] * 40
CLASS = np.array([0.0, 1.0, 2.0] * 40)


@pytest.fixture
def values() -> np.ndarray:
    """Columns: noise, tells most, the same in other units, tells less, never varies."""
    rng = np.random.default_rng(6)
    clear = CLASS + rng.normal(0, 0.2, 120)
    vague = CLASS + rng.normal(0, 0.9, 120)
    return np.stack([rng.normal(0, 1, 120), clear, 100 * clear + 3, vague, np.ones(120)], axis=1)


NAMES = ("noise", "clear", "clear_again", "vague", "constant")


def test_the_best_come_first_and_nothing_is_said_twice(values: np.ndarray) -> None:
    chosen = select_top(values, LABELS, NAMES, 2)
    assert chosen in (("clear", "vague"), ("clear_again", "vague"))


def test_fewer_are_taken_where_the_rest_says_nothing_new(values: np.ndarray) -> None:
    chosen = select_top(values, LABELS, NAMES, 5)
    assert len(chosen) == 3
    assert "constant" not in chosen


def test_the_same_values_give_the_same_choice() -> None:
    """Few levels make ties, which the estimate of information breaks by chance."""
    coarse = np.random.default_rng(7).integers(0, 3, (120, 20)).astype(np.float64)
    names = tuple(f"feature_{number}" for number in range(20))
    assert len({select_top(coarse, LABELS, names, 8) for _ in range(5)}) == 1


def test_one_feature_is_enough(values: np.ndarray) -> None:
    assert select_top(values[:, :1], LABELS, NAMES[:1], 3) == ("noise",)


def test_where_nothing_varies_there_is_still_one_feature() -> None:
    assert select_top(np.ones((120, 2)), LABELS, ("first", "second"), 2) == ("first",)
