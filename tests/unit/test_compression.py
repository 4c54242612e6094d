"""`[compression]` of the settings file."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerline.compression import ZstdSettings
from layerline.errors import UsageError

CONFIG = Path("config.toml")


def test_the_level_and_the_form() -> None:
    assert ZstdSettings.read({}, CONFIG) == ZstdSettings(level=1, chunked=False)
    table = {"zstd_level": 19, "zstd_chunked": True}
    assert ZstdSettings.read({"compression": table}, CONFIG) == ZstdSettings(level=19, chunked=True)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "invalid compression in config.toml: use a table"),
        ({"level": 3}, "unknown key 'level' in .compression. of config.toml"),
        ({"zstd_level": 23}, "invalid zstd_level 23 in config.toml: use a number from 1 to 22"),
        ({"zstd_level": True}, "invalid zstd_level True"),
        ({"zstd_chunked": 1}, "invalid zstd_chunked 1 in config.toml: use true or false"),
    ],
)
def test_what_is_wrong_is_named(table: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ZstdSettings.read({"compression": table}, CONFIG)
