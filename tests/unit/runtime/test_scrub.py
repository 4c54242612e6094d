"""Scrubbing of streams, however they are cut."""

from __future__ import annotations

import random
import re
import time

import pytest

from layerline.scrub import Scrubber


def scrub(pieces: list[bytes], *values: bytes) -> bytes:
    scrubber = Scrubber(values)
    return b"".join(map(scrubber.feed, pieces)) + scrubber.finish()


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        (b"a sup3r b", [b"sup3r"], b"a *** b"),
        (b"sup3rsup3r", [b"sup3r"], b"******"),
        (b"sup3", [b"sup3r"], b"sup3"),
        (b"text", [b""], b"text"),
        (b"text", [b"  "], b"text"),
        (b"axbx", [b"x"], b"a***b***"),
        (b"one\ntwo\none\n", [b"one\ntwo"], b"***\none\n"),
        (b"k\n k", [b"k\n"], b"*** ***"),
        (b"abcdef abc", [b"abc", b"abcdef"], b"*** ***"),
        (b"abcX", [b"bcX", b"ab"], b"***cX"),
        (b"aaab", [b"aab"], b"a***"),
    ],
)
def test_values_are_replaced_at_every_cut(
    text: bytes, values: list[bytes], expected: bytes
) -> None:
    assert scrub([text], *values) == expected
    for cut in range(len(text) + 1):
        assert scrub([text[:cut], text[cut:]], *values) == expected
    assert scrub([text[place : place + 1] for place in range(len(text))], *values) == expected


def test_plain_lines_are_not_held_back() -> None:
    scrubber = Scrubber([b"secret" * 1000])
    assert scrubber.feed(b"a plain line\n") == b"a plain line\n"
    assert scrubber.feed(b"half of a sec") == b"half of a "
    assert scrubber.feed(b"ond\n") == b"second\n"


def test_random_cuts_give_what_one_piece_gives() -> None:
    chance = random.Random(7)
    for _ in range(300):
        values = [bytes(chance.choices(b"ab", k=chance.randint(1, 20))) for _ in range(3)]
        text = bytes(chance.choices(b"ab", k=200))
        longest_first = sorted(set(values), key=lambda value: (-len(value), value))
        whole = re.sub(b"|".join(longest_first), b"***", text)
        cuts = sorted(chance.choices(range(201), k=12))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, 200], strict=True)]
        assert scrub(pieces, *values) == whole


def test_a_large_secret_does_not_make_output_slow() -> None:
    secret = random.Random(1).randbytes(100_000)
    began = time.monotonic()
    done = scrub([secret[:70_000], secret[70_000:], *[b"x" * 65536] * 50], secret)
    assert done == b"***" + b"x" * 65536 * 50
    assert time.monotonic() - began < 2
