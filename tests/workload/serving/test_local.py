"""MODEL_PATH and FEATURES_PATH do not leave the model root, and nothing there makes us wait."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ct_scan_mlops.errors import LocationRefused
from ct_scan_mlops.serving.local import local_chunks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "model").write_bytes(b"inside")
    (tmp_path / "outside").write_bytes(b"outside")
    return root


def read(root: Path, text: str) -> bytes:
    return b"".join(local_chunks(text, root=root))


@pytest.mark.parametrize("name", ["below/model", "./below//model"])
def test_a_file_below_the_root_is_read(root: Path, name: str) -> None:
    assert read(root, name) == b"inside"
    assert read(root, str(root / name)) == b"inside"


def test_links_that_stay_inside_are_followed(root: Path) -> None:
    (root / "last").symlink_to("below/model")
    (root / "data").symlink_to(root / "below")
    assert read(root, "last") == read(root, "data/model") == b"inside"


def test_a_root_that_is_a_link_is_where_it_leads(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    assert read(root.parent / "link", "below/model") == b"inside"


def outside_by_dots(_: Path) -> str:
    return "../outside"


def dots_that_stay_inside(_: Path) -> str:
    return "below/../below/model"


def absolute_outside(root: Path) -> str:
    return str(root.parent / "outside")


def environment_of_the_process(_: Path) -> str:
    return "/proc/self/environ"


def link_out(root: Path) -> str:
    (root / "link").symlink_to(root.parent / "outside")
    return "link"


def link_to_environment(root: Path) -> str:
    (root / "link").symlink_to("/proc/self/environ")
    return "link"


def directory_link_out(root: Path) -> str:
    (root / "link").symlink_to(root.parent)
    return "link/outside"


def cycle_of_links(root: Path) -> str:
    (root / "link").symlink_to("link")
    return "link"


def fifo(root: Path) -> str:
    os.mkfifo(root / "fifo")
    return "fifo"


def directory(_: Path) -> str:
    return "below"


def root_itself(_: Path) -> str:
    return "."


def below_a_file(_: Path) -> str:
    return "below/model/more"


def absent(_: Path) -> str:
    return "absent"


def name_too_long(_: Path) -> str:
    return "x" * 5000


@pytest.mark.parametrize(
    "attack",
    [
        outside_by_dots,
        dots_that_stay_inside,
        absolute_outside,
        environment_of_the_process,
        link_out,
        link_to_environment,
        directory_link_out,
        cycle_of_links,
        fifo,
        directory,
        root_itself,
        below_a_file,
        absent,
        name_too_long,
    ],
)
def test_everything_else_is_refused_at_once(root: Path, attack: Callable[[Path], str]) -> None:
    text = attack(root)
    began = time.monotonic()
    with pytest.raises(LocationRefused):
        read(root, text)
    assert time.monotonic() - began < 1


def test_what_changes_between_check_and_open_is_never_followed_out(root: Path) -> None:
    target, spare = root / "below" / "model", root / "below" / "spare"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            spare.symlink_to(root.parent / "outside")
            spare.replace(target)
            spare.write_bytes(b"inside")
            spare.replace(target)

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes: set[bytes] = set()
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline and len(outcomes) < 3:
        try:
            outcomes.add(read(root, "below/model"))
        except LocationRefused as refused:
            outcomes.add(str(refused).encode())
    stop.set()
    swapping.join()
    assert b"outside" not in outcomes
    assert b"inside" in outcomes
    assert len(outcomes) > 1
