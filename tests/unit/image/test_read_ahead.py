"""Chunks that are read ahead: all of them, in their order, and no thread is left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from layerline.engine.image.read_ahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


def reading() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "read ahead"]


def numbers(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield str(number).encode()


def test_all_chunks_arrive_in_their_order_and_another_thread_reads_them() -> None:
    readers: set[threading.Thread] = set()

    def chunks() -> Iterator[bytes]:
        for chunk in numbers(100):
            readers.add(threading.current_thread())
            yield chunk

    with read_ahead(chunks()) as taken:
        assert list(taken) == list(numbers(100))
    assert threading.current_thread() not in readers
    assert reading() == []


def test_what_reading_raises_is_raised_behind_the_chunks_before_it() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"good"
        message = "damaged"
        raise OSError(message)

    with read_ahead(chunks()) as taken:
        assert next(taken) == b"good"
        with pytest.raises(OSError, match="damaged"):
            next(taken)
    assert reading() == []


def test_a_block_that_ends_early_ends_the_reading() -> None:
    with read_ahead(numbers(10_000)) as taken:
        assert next(taken) == b"0"
    assert reading() == []
