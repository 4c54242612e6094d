"""A home without a place for uv's cache is noticed before uv fails in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.module.uv_cache import cache_of, is_writable


@pytest.mark.parametrize(
    "environ",
    [
        {"HOME": "/home/me"},
        {"HOME": "/home/me", "XDG_CACHE_HOME": "/var/cache/me"},
        {"HOME": "/home/me", "UV_CACHE_DIR": "/fast/uv", "XDG_CACHE_HOME": "/var/cache/me"},
    ],
)
def test_it_is_where_uv_says_that_it_is(environ: dict[str, str]) -> None:
    uv = Path(sys.executable).with_name("uv")
    said = command.run([uv, "cache", "dir", "--no-config"], env=environ).stdout.decode().strip()
    assert str(cache_of(environ)) == said


def test_a_home_that_cannot_hold_it_is_noticed(tmp_path: Path) -> None:
    assert is_writable(cache_of({"HOME": str(tmp_path)}))
    (tmp_path / "file").write_text("")
    assert not is_writable(cache_of({"HOME": str(tmp_path / "file")}))
