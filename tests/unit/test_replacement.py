"""A file appears complete or not at all, and nothing appears next to it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from layerline.replacement import replacing

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_there_before_it_is_complete(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as file:
        file.write(b"x" * (3 << 20))
        file.flush()
        assert list(tmp_path.iterdir()) == []
    assert (tmp_path / "file").stat().st_size == 3 << 20


def test_a_file_or_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / "link").symlink_to("other")
    for name in ("other", "link"):
        with replacing(tmp_path / name) as file:
            file.write(b"new")
    assert not (tmp_path / "link").is_symlink()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new", "new"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "directory") as file:
        file.write(b"new")
    assert (tmp_path / "file").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]
