"""Global flags are found wherever they stand on the command line."""

from __future__ import annotations

import pytest

from layerline.cli.help import usages
from layerline.cli.options import Options, global_flags
from layerline.errors import UsageError


def test_global_flags_may_stand_before_and_behind_the_command() -> None:
    options = Options.of(["-s", "call", "--name=bob", "text", "--progress=plain", "-vv", "-o", "x"])
    assert options.silent
    assert (options.progress, options.verbose, options.output) == ("plain", 2, "x")


def test_flags_of_functions_are_passed_over() -> None:
    options = Options.of(["call", "-m", "mod", "build", "--tag", "v1", "--help"])
    assert options.module == "mod"
    assert options.help
    assert not options.silent


def test_an_unknown_progress_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="choose one of auto, plain"):
        Options.of(["--progress=fancy"])


def test_help_shows_what_was_chosen_as_the_default() -> None:
    chosen = " ".join(usages(global_flags(Options.of(["-s"])).sorted()).split())
    plain = " ".join(usages(global_flags(Options.of([])).sorted()).split())
    assert "Do not show progress at all (default true)" in chosen
    assert "(default true)" not in plain
