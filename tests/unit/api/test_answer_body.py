"""Answers are the same JSON in pieces as at once, and held only once."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from layerline.engine.api.answer_body import encode

LARGE = 'a"b\\c\n\0é\u2028\U0001f600' * 100_000


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": {"a": ["x", 1, None, True, {"b": "é"}]}},
        {"data": {"stdout": LARGE, "list": [LARGE, "x", [LARGE]], "nested": {"a": {"b": LARGE}}}},
        {"data": {"a": "\0text 0\0", "b": LARGE, "c": "\0text 1\0", "d": "\0text"}},
        {"data": {"a": '"\\u0000text 0\\u0000"', "b": LARGE}},
        {"errors": [{"message": LARGE, "extensions": {"stdout": LARGE}}]},
    ],
)
def test_the_pieces_are_the_json(body: dict[str, object]) -> None:
    expected = json.dumps(body, ensure_ascii=False).encode()
    assert b"".join(encode(body)) == expected


def test_half_of_a_pair_becomes_a_question_mark() -> None:
    assert b"".join(encode({"a": "\ud800"})) == b'{"a": "?"}'
    assert b"".join(encode({"a": "\ud800" * 100_000})) == b'{"a": "' + b"?" * 100_000 + b'"}'


def test_a_large_text_is_not_held_again() -> None:
    body = {"data": {"stdout": "x" * (64 << 20)}}
    tracemalloc.start()
    try:
        assert sum(map(len, encode(body))) > 64 << 20
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
