"""Which cache the user has set, from variables, the settings file and flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerline.errors import UsageError
from layerline.registry_cache import RegistryCache

CONFIG = Path("config.toml")
HOST = "registry.example.com/team/cache"


def read(table: dict[str, object] | None = None, **environ: str) -> RegistryCache:
    return RegistryCache.read(environ, {"cache": table or {}}, CONFIG)


def test_there_is_no_cache_unless_it_is_set() -> None:
    assert read() == RegistryCache()


def test_a_variable_wins_over_the_file() -> None:
    table: dict[str, object] = {"registry": HOST, "mode": "read,write"}
    assert read(table).places == (HOST,)
    assert read(table).writes
    assert read(table, LAYERLINE_CACHE="localhost/x").places == ("localhost/x",)
    assert read(table, LAYERLINE_CACHE="").places == ()
    assert not read(table, LAYERLINE_CACHE_MODE="read").writes


def test_several_places_are_read() -> None:
    assert read({"registry": [HOST, "localhost:5000/b"]}).places == (HOST, "localhost:5000/b")
    assert read(LAYERLINE_CACHE=f"{HOST}, localhost:5000/b").places == (HOST, "localhost:5000/b")


def test_a_flag_wins_over_both() -> None:
    cache = read({"registry": HOST}).chosen("localhost/flag", waits=False)
    assert (cache.places, cache.waits) == (("localhost/flag",), False)
    assert read({"registry": HOST}).chosen(None, waits=True).places == (HOST,)


@pytest.mark.parametrize(
    "table",
    [
        {"registry": "debian"},
        {"registry": f"{HOST}:tag"},
        {"registry": "registry.example.com"},
        {"mode": "write"},
        {"wait": "perhaps"},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        read(table)
