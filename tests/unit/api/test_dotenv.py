"""Env files are read as a shell reads them, and nothing in them is run."""

from __future__ import annotations

import pytest

from layerline.engine.api.dotenv import expand_values, quote, raw_values
from layerline.errors import QueryError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=two words", "two words"),
        ("A=50% # not a comment", "50% # not a comment"),
        ('A="two  words" # a comment', "two  words"),
        ("A='$B \"x\"'", '$B "x"'),
        ('A="a\\"b\\\\c\\d"', 'a"b\\c\\d'),
        ("A=x\\ y", "x y"),
        ("A=$B-${B}", "b-b"),
        ("A='x'$B\"y\"", "xby"),
        ("A=${C:-none}", "none"),
        ("A=${B:-none}", "b"),
        ("A=${B:+some}", "some"),
        ("A=$HOST_ONLY", "h"),
        ("A=${C}", ""),
        ("A=5$", "5$"),
        ("A=", ""),
        ("export A='x'", "x"),
    ],
)
def test_a_value_is_what_a_shell_would_make_of_it(line: str, value: str) -> None:
    assert expand_values([line, "B=b"], {"HOST_ONLY": "h", "B": "outer"})["A"] == value


def test_order_is_kept_and_the_last_value_counts() -> None:
    assert list(expand_values(["B=1", "A=2", "B=3"], {}).items()) == [("B", "3"), ("A", "2")]


def test_raw_values_are_left_alone() -> None:
    assert raw_values(["A='x'", "B=$A"]) == {"A": "'x'", "B": "$A"}


@pytest.mark.parametrize(
    "line", ["A=$(id)", "A=`id`", 'A="$(id)"', "A='x", 'A="x', "A=${B", "A=$A", 'no "name"']
)
def test_what_is_broken_or_would_run_something_is_refused(line: str) -> None:
    with pytest.raises(QueryError, match=r"parse error|circular"):
        expand_values([line], {})


@pytest.mark.parametrize("value", ["", "plain", "two words", "it's", '"$A"', "a\\b", "$(x)"])
def test_a_quoted_value_is_read_back(value: str) -> None:
    assert expand_values([f"A={quote(value)}"], {}) == {"A": value}
