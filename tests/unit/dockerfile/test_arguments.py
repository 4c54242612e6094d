"""Which value a build argument has where."""

from __future__ import annotations

import pytest

from layerline.engine.dockerfile.arguments import Arguments
from layerline.engine.dockerfile.instructions import Arg
from layerline.engine.dockerfile.parser import parse
from layerline.engine.image.platform import Platform
from layerline.errors import QueryError

ARM = Platform.of("linux", "arm", "v7")


def arguments(text: str, **given: str) -> Arguments:
    return Arguments.of(parse(text), given, ARM, "final")


def declare(found: Arguments, *pairs: tuple[str, str | None]) -> dict[str, str]:
    return found.declare(Arg(pairs=pairs), {}, "\\")


def test_arguments_before_the_first_stage_build_on_each_other() -> None:
    found = arguments("ARG A=1\nARG B=${A}2\nFROM x\n")
    assert (found.outer["A"], found.outer["B"]) == ("1", "12")


def test_what_is_given_wins_over_defaults() -> None:
    found = arguments("ARG A=1\nFROM x\n", A="given", B="other")
    assert found.outer["A"] == "given"
    assert declare(found, ("B", "default")) == {"B": "other"}


def test_a_stage_sees_an_outer_argument_only_once_it_declares_it() -> None:
    found = arguments("ARG A=1\nFROM x\n")
    assert declare(found, ("A", None)) == {"A": "1"}
    assert declare(found, ("NOPE", None)) == {}


def test_a_default_may_use_what_was_declared_before_it() -> None:
    assert declare(arguments("FROM x\n"), ("A", "1"), ("B", "$A$A")) == {"A": "1", "B": "11"}


def test_every_build_knows_its_platforms() -> None:
    outer = arguments("FROM x\n").outer
    assert (outer["TARGETPLATFORM"], outer["TARGETARCH"]) == ("linux/arm/v7", "arm")
    assert outer["BUILDPLATFORM"] == str(Platform.of_host())
    assert outer["TARGETSTAGE"] == "final"


def test_proxies_come_in_both_spellings() -> None:
    found = arguments("FROM x\n", http_proxy="p", OTHER="o")
    assert found.proxies() == (("HTTP_PROXY", "p"), ("http_proxy", "p"))


def test_a_stage_begins_from_what_its_variables_say() -> None:
    dockerfile = parse("ARG T=slim\nFROM --platform=$TARGETPLATFORM debian:${T}\n")
    found = Arguments.of(dockerfile, {}, ARM, "")
    stage = found.begin(dockerfile.stages[0], "\\")
    assert (stage.base, stage.platform) == ("debian:slim", "linux/arm/v7")


def test_a_blank_base_is_refused() -> None:
    dockerfile = parse("ARG T\nFROM $T\n")
    found = Arguments.of(dockerfile, {}, ARM, "")
    with pytest.raises(QueryError, match=r"base name \(\$T\) should not be blank"):
        found.begin(dockerfile.stages[0], "\\")
