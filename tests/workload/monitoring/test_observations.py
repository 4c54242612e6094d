"""What is kept as it was sent, and what is refused whole with its reason."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ct_scan_mlops.errors import ObservationsInvalid
from ct_scan_mlops.monitoring.observations import (
    MOST_OBSERVATIONS,
    Observation,
    parse,
)
from ct_scan_mlops.monitoring.reference import Reference

REFERENCE = Reference(
    names=("a", "b"), values=np.zeros((20, 2)), embeddings=np.zeros((20, 3)), identity="test"
)
GOOD: dict[str, Any] = {"features": {"b": 2, "a": 1.5}, "embedding": [0, 1, 2.5]}


def sent(document: object) -> list[Observation]:
    return parse(json.dumps(document).encode(), REFERENCE)


def test_features_come_in_the_references_order() -> None:
    (observation,) = sent(GOOD)
    assert observation.features.tolist() == [1.5, 2.0]
    assert observation.embedding is not None
    assert observation.embedding.tolist() == [0, 1, 2.5]


def test_a_list_is_as_many_observations() -> None:
    assert len(sent([GOOD] * MOST_OBSERVATIONS)) == MOST_OBSERVATIONS


@pytest.mark.parametrize("item", [{"features": GOOD["features"]}, GOOD | {"embedding": None}])
def test_the_embedding_may_be_left_out(item: dict[str, Any]) -> None:
    (observation,) = sent(item)
    assert observation.embedding is None


def test_an_embedding_that_cannot_be_compared_is_checked_and_not_kept() -> None:
    without = Reference(names=("a", "b"), values=np.zeros((20, 2)), embeddings=None, identity="x")
    (observation,) = parse(json.dumps(GOOD | {"embedding": [1] * 9}).encode(), without)
    assert observation.embedding is None
    with pytest.raises(ObservationsInvalid):
        parse(json.dumps(GOOD | {"embedding": ["1"]}).encode(), without)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"features": {"a": NaN, "b": 1}}', "NaN is not JSON"),
        (b'{"features": {"a": -Infinity, "b": 1}}', "-Infinity is not JSON"),
        (b'{"features": {"a": 1e999, "b": 1}}', "a is no finite number"),
        (b'{"features": {"a": "NaN", "b": 1}}', "a is no finite number"),
        (b'{"features": {"a": true, "b": 1}}', "a is no finite number"),
        (b'{"features": {"a": null, "b": 1}}', "a is no finite number"),
        (b'{"features": {"a": [1], "b": 1}}', "a is no finite number"),
        (b'{"features": {"a": 1' + b"0" * 400 + b', "b": 1}}', "a is no finite number"),
        (b'{"features": {"a": 1' + b"0" * 5000 + b', "b": 1}}', "is not JSON"),
        (b'{"features": {"a": 1, "a": 2, "b": 1}}', "has a name twice"),
        (b'{"features": {"a": 1}}', "have no 'b'."),
        (b'{"features": {"a": 1, "b": 2, "c": 3}}', "have 'c', which the reference has not"),
        (b'{"features": {"a": 1, "\\ud800": 2}}', "no 'b', and '\\ud800', which"),
        (b'{"features": {"a": 1, "b": 1}, "label": 1}', "has 'label', which"),
        (b'{"features": {"a": 1, "b": 1}, "embedding": 1}', "embedding is no list"),
        (b'{"features": {"a": 1, "b": 1}, "embedding": [1, 2]}', "has 2 components"),
        (b'{"features": {"a": 1, "b": 1}, "embedding": [1, 2, 1e39]}', "is beyond 1e+30"),
        (b"[]", "There are 0 observations"),
        (b"[" * 3000 + b"]" * 3000, "nested too deep"),
        (b"[" * 100_000 + b"]" * 100_000, "more lists and objects than 1000 observations"),
        (b"[" + b"[]," * 99_999 + b"[]]", "more lists and objects than 1000 observations"),
        (b"[" + b"1," * 999_999 + b"1]", "There are 1000000 observations. Send 1 to 1000"),
        (b"null", "Observation 0 is not like"),
        (b'"\\udfff"', "Observation 0 is not like"),
        (b"[[]]", "Observation 0 is not like"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, says: str) -> None:
    with pytest.raises(ObservationsInvalid) as caught:
        parse(body, REFERENCE)
    assert says in str(caught.value)
    assert str(caught.value).isascii()


def test_which_observation_is_wrong_is_said() -> None:
    with pytest.raises(ObservationsInvalid, match="observation 2 have no 'b'"):
        sent([GOOD, GOOD, {"features": {"a": 1}}, GOOD])


def test_a_message_is_short_whatever_was_sent() -> None:
    names = {f"{number}" * 500: 1 for number in range(1000)}
    with pytest.raises(ObservationsInvalid, match="and 990 more") as caught:
        sent({"features": names})
    assert len(str(caught.value)) < 1500
