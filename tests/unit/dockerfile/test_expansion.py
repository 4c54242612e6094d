"""Variables, quotes and escapes come out as BuildKit's lexer leaves them."""

from __future__ import annotations

import pytest

from layerline.engine.dockerfile.expansion import expand, expand_document, expand_words
from layerline.errors import QueryError

VARIABLES = {"X": "1", "E": "", "P": "a.tar.gz", "W": "two words", "_1": "under"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$X", "1"),
        ("${X}b", "1b"),
        ("$Xa", ""),
        ("$_1", "under"),
        ("$NOPE", ""),
        ("${NOPE:-d}", "d"),
        ("${NOPE-d}", "d"),
        ("${E:-d}", "d"),
        ("${E-d}", ""),
        ("${X:+s}", "s"),
        ("${X+s}", "s"),
        ("${E:+s}", ""),
        ("${E+s}", "s"),
        ("${NOPE:-${X}}", "1"),
        ("${NOPE:-'a b'}", "a b"),
        ("${X:?message}", "1"),
        ("'$X'", "$X"),
        ('"$X"', "1"),
        (r'"\$X \" \a"', r"$X " + r'" \a'),
        (r"\$X", "$X"),
        (r"a\ b", "a b"),
        ("a$", "a$"),
        ("a$.b", "a$.b"),
        ("${P%.*}", "a.tar"),
        ("${P%%.*}", "a"),
        ("${P#*.}", "tar.gz"),
        ("${P##*.}", "gz"),
        ("${P/a/b}", "b.tar.gz"),
        ("${P//a/b}", "b.tbr.gz"),
    ],
)
def test_a_word(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'x", "matching single-quote"),
        ('"x', "matching double-quote"),
        ("${X:-d", "missing '}'"),
        ("${X", "missing '}'"),
        ("${X^}", r"unsupported modifier \(\^\)"),
        ("${NOPE?}", "NOPE: is not allowed to be unset"),
        ("${E:?give one}", "E: give one"),
    ],
)
def test_what_is_broken_is_told(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        expand(text, VARIABLES)


def test_another_escape_leaves_backslashes_alone() -> None:
    assert expand(r"c:\dir `$X", VARIABLES, escape="`") == r"c:\dir $X"


def test_an_unquoted_variable_becomes_several_words() -> None:
    assert expand_words("$W end", VARIABLES) == ["two", "words", "end"]


def test_a_quoted_variable_stays_one_word() -> None:
    assert expand_words('"$W" end', VARIABLES) == ["two words", "end"]


def test_a_document_keeps_its_quotes() -> None:
    assert expand_document("'$X' \"$W\" \\$X\n", VARIABLES) == "'1' \"two words\" $X\n"
