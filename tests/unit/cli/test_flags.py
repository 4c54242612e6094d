"""Flags are read, and refused, as Go's pflag does it."""

from __future__ import annotations

import pytest

from layerline.cli.flags import (
    BadValue,
    Flag,
    FlagSet,
    parse_bool,
    parse_float,
    parse_int,
    parse_list,
    split_csv,
)
from layerline.errors import UsageError


def flags() -> FlagSet:
    made = FlagSet()
    made.add(Flag(name="name", kind="string", parse=str, short="n"))
    made.add(Flag(name="on", kind="bool", parse=parse_bool, short="o", bare="true"))
    made.add(Flag(name="count", kind="int", parse=parse_int))
    made.add(Flag(name="item", kind="stringSlice", parse=parse_list(str), repeated=True))
    made.add(Flag(name="loud", kind="count", short="v", parse=lambda text: text == "+1", bare="+1"))
    return made


def test_flags_are_taken_up_to_the_first_word_that_is_none() -> None:
    made = flags()
    assert made.parse(["--name=bob", "--on", "next", "--count=1"]) == ["next", "--count=1"]
    assert made.flags["name"].value == "bob"
    assert made.flags["on"].value is True
    assert not made.flags["count"].changed


def test_a_bool_takes_its_value_only_behind_an_equals_sign() -> None:
    made = flags()
    assert made.parse(["--on=false", "false"]) == ["false"]
    assert made.flags["on"].value is False


def test_short_flags_stand_together_and_the_last_takes_the_rest() -> None:
    made = flags()
    assert made.parse(["-vvonbob", "x"]) == ["x"]
    assert (made.flags["loud"].value, made.flags["name"].value) == (2, "bob")
    assert made.flags["on"].value is True


def test_a_repeated_flag_adds_up() -> None:
    made = flags()
    made.parse(["--item=a,b", "--item", "c"])
    assert made.flags["item"].value == ["a", "b", "c"]


def test_any_spelling_of_a_name_is_its_kebab_case() -> None:
    made = FlagSet()
    made.add(Flag(name="docker-config", kind="string", parse=str))
    made.parse(["--dockerConfig=x"])
    assert made.flags["docker-config"].value == "x"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--name"], "flag needs an argument: --name"),
        (["-n"], "flag needs an argument: 'n' in -n"),
        (["--=x"], "bad flag syntax: --=x"),
        (
            ["--count=zz"],
            'invalid argument "zz" for "--count" flag: strconv.ParseInt: parsing "zz": '
            "invalid syntax",
        ),
        (
            ["--on=maybe"],
            'invalid argument "maybe" for "-o, --on" flag: strconv.ParseBool: parsing "maybe": '
            "invalid syntax",
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_pflag(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        flags().parse(words)
    assert str(caught.value) == message


def test_required_flags_that_are_missing_are_named_in_order() -> None:
    made = flags()
    made.flags["name"].required = made.flags["count"].required = True
    with pytest.raises(UsageError, match=r'required flag\(s\) "count", "name" not set'):
        made.require()


@pytest.mark.parametrize(
    ("text", "value"), [("42", 42), ("-7", -7), ("0x10", 16), ("010", 8), ("1_000", 1000)]
)
def test_integers_are_read_in_any_base(text: str, value: int) -> None:
    assert parse_int(text) == value


def test_an_integer_has_64_bits() -> None:
    assert parse_int(str(2**63 - 1)) == 2**63 - 1
    with pytest.raises(BadValue, match="value out of range"):
        parse_int(str(2**63))


@pytest.mark.parametrize("text", ["", "1.5", "1e3", "zz", "1 "])
def test_what_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="invalid syntax"):
        parse_int(text)


def test_floats() -> None:
    assert parse_float("1.5e3") == 1500.0
    with pytest.raises(BadValue, match=r"strconv\.ParseFloat"):
        parse_float("one")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", []),
        ("a,b", ["a", "b"]),
        ("a,", ["a", ""]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a ""b""",c', ['a "b"', "c"]),
        ("sh,-c,echo hi", ["sh", "-c", "echo hi"]),
    ],
)
def test_lists_are_one_csv_record(text: str, fields: list[str]) -> None:
    assert split_csv(text) == fields


@pytest.mark.parametrize("text", ['a"b', '"a', '"a"b'])
def test_a_stray_quote_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="parse error on line 1"):
        split_csv(text)
