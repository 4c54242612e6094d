"""Global flags are found anywhere on the command line."""

from __future__ import annotations

import pytest

from layerline.cli.display.help import usages
from layerline.cli.flags import Flag, FlagSet
from layerline.cli.options import Options, global_flags, module_flags
from layerline.errors import UsageError


def test_global_flags_may_stand_before_and_behind_the_command() -> None:
    options = Options.scan(
        ["-s", "call", "--name=bob", "text", "--progress=plain", "-vv", "-o", "x"]
    )
    assert options.silent
    assert (options.progress, options.verbosity, options.output) == ("plain", 2, "x")


def test_flags_of_functions_are_passed_over() -> None:
    options = Options.scan(["call", "-m", "mod", "build", "--tag", "v1", "--help"])
    assert options.module == "mod"
    assert options.help
    assert not options.silent


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("--progress=fancy", "choose one of auto, plain"),
        ("--lock=pinned", "keeps no lock file"),
        ("--web", "no traces leave this machine"),
        ("-w", "no traces leave this machine"),
        ("--x-release=main", "the engine is part of this program"),
        ("--allow-llm=all", "no language models"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(word: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        FlagSet((global_flags(), module_flags())).parse([word])


@pytest.mark.parametrize("word", ["--lock=disabled", "--web=false"])
def test_what_asks_for_nothing_is_taken(word: str) -> None:
    assert FlagSet((global_flags(),)).parse([word]) == []


def test_the_value_of_another_flag_may_look_like_a_flag() -> None:
    flags = FlagSet((global_flags(), module_flags()))
    flags.add(Flag(name="args", kind="string", parse=str))
    words = ["--args", "-o", "-j"]
    assert Options.scan(words).output == "-j"  # a first look knows no better
    flags.parse(words)
    options = Options.from_flags(flags)
    assert (options.output, options.json) == ("", True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], 0), (["-q"], -1), (["-qq"], -2), (["-vv", "-q"], 1), (["-d"], 3), (["-d", "-q"], 3)],
)
def test_flags_for_more_and_for_less_add_up(words: list[str], expected: int) -> None:
    assert Options.scan(words).verbosity == expected


def test_the_interactive_command_alone_does_nothing_and_is_refused() -> None:
    with pytest.raises(UsageError, match="no effect without --interactive"):
        Options.scan(["--interactive-command=bash"])


def test_help_shows_what_was_chosen_as_the_default() -> None:
    chosen = " ".join(usages(global_flags(Options.scan(["-s"])).visible()).split())
    plain = " ".join(usages(global_flags(Options.scan([])).visible()).split())
    assert "Do not show progress at all (default true)" in chosen
    assert "(default true)" not in plain
