"""Digests are checked when they come from outside, and stable for equal values."""

from __future__ import annotations

import hashlib

import pytest

from layerline.engine.store.digest import digest_bytes, digest_of, parse_digest
from layerline.errors import ArchiveInvalid


def test_a_digest_of_bytes_is_their_sha256() -> None:
    assert digest_bytes(b"x") == "sha256:" + hashlib.sha256(b"x").hexdigest()


def test_the_order_of_members_takes_no_part() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_a_value_without_one_meaning_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_of(float("nan"))


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "A" * 64, "sha512:" + "a" * 64, "sha256:../" + "a" * 61,
     "sha256:" + "a" * 64 + "\n"],
)  # fmt: skip
def test_other_text_is_no_digest(text: str) -> None:
    with pytest.raises(ArchiveInvalid):
        parse_digest(text)


def test_a_digest_is_taken_as_it_is() -> None:
    assert parse_digest("sha256:" + "a" * 64) == "sha256:" + "a" * 64
