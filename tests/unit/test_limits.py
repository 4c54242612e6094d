"""The settings of a step's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.errors import LayerlineError, UsageError
from layerline.limits import UNLIMITED, Limits
from layerline.pipeline.definition import parse_definition
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables of a user whose settings file is `layerline/config.toml` of the directory."""
    (tmp_path / "layerline").mkdir()
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}


def limits(environ: dict[str, str], text: str = "", **variables: str) -> Limits:
    config = Settings.from_environ(environ).config
    config.write_text(text)
    return Settings.from_environ({**environ, **variables}).limits


def test_limits_are_read_from_the_users_file(environ: dict[str, str]) -> None:
    text = "[limits]\nmemory = '1.5GiB'\nprocesses = 500\ncpus = 2.5\n"
    assert limits(environ, text) == Limits(memory=3 << 29, processes=500, cpus=2.5)
    assert limits(environ) == Limits()


def test_a_variable_wins_over_the_file(environ: dict[str, str]) -> None:
    text = "[limits]\nmemory = '1GB'\nprocesses = 500\n"
    found = limits(environ, text, LAYERLINE_MEMORY="2GB", LAYERLINE_CPUS="1")
    assert found == Limits(memory=2_000_000_000, processes=500, cpus=1.0)


def test_unlimited_lifts_each(environ: dict[str, str]) -> None:
    text = "[limits]\nmemory = 'unlimited'\nprocesses = 'unlimited'\n"
    found = limits(environ, text, LAYERLINE_CPUS="unlimited")
    assert found == Limits(memory=UNLIMITED, processes=UNLIMITED, cpus=UNLIMITED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits = 3", "invalid limits in {}: use a table"),
        (
            "[limits]\nmemroy = '1GB'",
            "unknown key 'memroy' in [limits] of {}; did you mean memory?",
        ),
        ("[limits]\nmemory = '8GX'", "invalid memory in [limits] of {}: invalid size '8GX'"),
        ("[limits]\nmemory = '1MB'", "'1MB' is too little to start a program: use at least 32MiB"),
        ("[limits]\nprocesses = 3", "invalid processes in [limits] of {}: '3': use a number from"),
        ("[limits]\nprocesses = true", "'True': use a number from 32, or 'unlimited'"),
        ("[limits]\ncpus = 'inf'", "'inf': use a number of CPUs, e.g. 1.5, or 'unlimited'"),
        ("[limits]\ncpus = 'nan'", "'nan': use a number of CPUs"),
        ("[limits]\ncpus = 0", "'0': use a number of CPUs"),
    ],
)
def test_what_cannot_be_a_limit_is_refused(
    environ: dict[str, str], text: str, message: str
) -> None:
    config = Settings.from_environ(environ).config
    with pytest.raises(UsageError) as caught:
        limits(environ, text)
    assert message.format(config) in str(caught.value)


def test_a_wrong_variable_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"invalid LAYERLINE_PROCESSES: 'many': use a number"):
        limits(environ, LAYERLINE_PROCESSES="many")


def test_a_repository_cannot_set_limits(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its definition has no such table, and no other file of it is read."""
    repository = tmp_path / "repository"
    (repository / "layerline").mkdir(parents=True)
    text = "[limits]\nmemory = 'unlimited'\n"
    for name in ("config.toml", "layerline/config.toml", "layerline.toml"):
        (repository / name).write_text(text)
    (repository / ".env").write_text("LAYERLINE_MEMORY=unlimited\n")
    monkeypatch.chdir(repository)
    assert Settings.from_environ(environ).limits == Limits()
    with pytest.raises((LayerlineError, ValueError), match="limits"):
        parse_definition(text)
