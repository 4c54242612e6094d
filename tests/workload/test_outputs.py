"""A directory for results is tried before work goes into it."""

from pathlib import Path

import pytest

from ct_scan_mlops.errors import OutputUnwritable
from ct_scan_mlops.outputs import output_directory, write_whole


def test_a_missing_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    made = output_directory(tmp_path / "a" / "b")
    assert made.is_dir()
    assert not list(made.iterdir())


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match=r"/file is a file\. Name another directory"):
        output_directory(tmp_path / "file" / "below")


def test_a_place_where_nothing_can_be_made_is_refused_with_its_owner() -> None:
    with pytest.raises(OutputUnwritable, match=r"/proc/sys belongs to 0:0, this process runs as"):
        output_directory(Path("/proc/sys"))


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"first", b"second"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(OutputUnwritable, match=r"labels\.csv cannot be written"):
        write_whole(tmp_path / "labels.csv", b"")
