"""Durations are read and printed as Go does."""

from __future__ import annotations

import pytest

from layerline.engine.api.durations import go_duration, nanoseconds
from layerline.errors import QueryError


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", 30 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("1.5s", 1_500_000_000),
        ("300ms", 3 * 10**8),
        ("0", 0),
    ],
)
def test_reads_what_go_reads(text: str, length: int) -> None:
    assert nanoseconds(text) == length


@pytest.mark.parametrize("text", ["", "30", "abc", "1x", "5s junk"])
def test_refuses_what_go_refuses(text: str) -> None:
    with pytest.raises(QueryError, match="invalid duration"):
        nanoseconds(text)


@pytest.mark.parametrize("text", ["0s", "30s", "1m30s", "1h0m0s", "1.5s", "300ms"])
def test_prints_what_it_reads(text: str) -> None:
    assert go_duration(nanoseconds(text)) == text
