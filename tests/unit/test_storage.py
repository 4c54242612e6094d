"""The user's limits of the store: read from the settings file, and as BuildKit applies them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.errors import UsageError
from layerline.settings import Settings
from layerline.storage import Amount, Storage

if TYPE_CHECKING:
    from pathlib import Path

GB = 10**9


def read(home: Path, text: str) -> Storage:
    config = home / ".config/layerline/config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    return Settings.from_environ({"HOME": str(home)}).storage


def test_what_a_user_sets(tmp_path: Path) -> None:
    storage = read(
        tmp_path, '[storage]\nkeep_storage = "50GB"\nmin_free = "5%"\nforecast = false\n'
    )
    assert storage.keep == Amount(bytes=50 * GB)
    assert storage.min_free == Amount(percent=5)
    assert storage.reserved == Storage().reserved
    assert not storage.forecast
    assert read(tmp_path, '[storage]\nkeep_storage = "off"\n').keep is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("storage = 1", "invalid storage in {}: use a table"),
        ("[storage]\nkeep = 1", "unknown key 'keep' in [storage] of {}: use keep_storage, "),
        (
            "[storage]\nkeep_storage = 'much'",
            "invalid keep_storage in [storage] of {}: invalid size",
        ),
        (
            "[storage]\nmin_free = '150%'",
            "invalid min_free in [storage] of {}: invalid size '150%'",
        ),
        ("[storage]\nforecast = 'no'", "invalid forecast in [storage] of {}: use true or false"),
        ("[storage", "cannot read {}: "),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(reason.format(tmp_path / ".config/layerline/config.toml"))


@pytest.mark.parametrize(
    ("disk", "free", "used", "limit"),
    [
        (1000 * GB, 900 * GB, 50 * GB, 100 * GB),  # the most that is kept
        (100 * GB, 60 * GB, 30 * GB, 70 * GB),  # what leaves 20 GB free
        (100 * GB, 5 * GB, 30 * GB, 15 * GB),  # 15 GB have to go
        (100 * GB, 0, 5 * GB, 10 * GB),  # others fill the disk: the reserve stays
    ],
)
def test_the_limit_is_buildkits(disk: int, free: int, used: int, limit: int) -> None:
    """Reserved space is kept; above it, the least of the maximum and what leaves the disk free.

    https://docs.docker.com/build/cache/garbage-collection/
    """
    assert Storage().limit(disk=disk, free=free, used=used) == limit
    assert Storage(keep=None).limit(disk=disk, free=free, used=used) is None
