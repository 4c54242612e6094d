"""Stores of root and of ordinary users are told apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import layerline
from layerline import command
from layerline.engine.store.store import Store
from layerline.errors import StoreError
from tests.ordinary_user import COUNT, FIRST, GID, UID, OrdinaryUser, ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = str(Path(layerline.__file__).parents[1])
OPEN = """
import sys
from pathlib import Path
from layerline import host
from layerline.engine.store.store import Store
from layerline.errors import StoreError
host.enter_namespaces()
try:
    with Store.open(Path(sys.argv[1])):
        print("opened")
except StoreError as exc:
    print(exc)
"""
HINT = "or set LAYERLINE_STORE to another directory"


@pytest.fixture
def user(container_user: None, machine_root: None) -> Iterator[OrdinaryUser]:  # noqa: ARG001
    with ordinary_user() as made:
        yield made


def open_as(user: OrdinaryUser, store: Path) -> str:
    argv = user.argv([sys.executable, "-c", OPEN, store])
    done = command.run(argv, env=user.environ({"PYTHONPATH": SOURCES}), cwd=user.home)
    return done.stdout.decode().strip()


def test_a_users_store_is_the_users_alone(user: OrdinaryUser) -> None:
    store = user.home / "store"
    assert open_as(user, store) == "opened"
    assert open_as(user, store) == "opened"
    assert json.loads((store / "owner").read_text()) == {
        "uid_map": [[0, UID, 1], [1, FIRST, COUNT]],
        "gid_map": [[0, GID, 1], [1, FIRST, COUNT]],
    }
    before = sorted(store.rglob("*"))
    with pytest.raises(StoreError) as caught, Store.open(store):
        pass
    hint = f"who builds without root: run it without sudo, {HINT}"
    assert str(caught.value) == f"the store {store} is of user {UID}, {hint}"
    assert sorted(store.rglob("*")) == before


def test_roots_store_is_roots_alone(user: OrdinaryUser, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Store.open(store):
        pass
    assert not (store / "owner").exists()
    tmp_path.chmod(0o755)
    # pytest's directories are closed to other users: the store is looked at from the user's home.
    moved = user.home / "of-root"
    store.rename(moved)
    closed = f"the store {moved} belongs to another user: run it as that user, {HINT}"
    assert open_as(user, moved) == closed
    moved.chmod(0o755)
    (moved / "version").chmod(0o644)
    assert open_as(user, moved) == f"the store {moved} is of root: run it as root, {HINT}"


def test_a_store_made_with_other_subordinate_ids_is_refused(user: OrdinaryUser) -> None:
    store = user.home / "store"
    assert open_as(user, store) == "opened"
    for file in ("subuid", "subgid"):
        assert user.files is not None
        (user.files / file).write_text(f"{UID}:{FIRST + COUNT}:{COUNT}\n")
    ids = "made with other subordinate ids: correct /etc/subuid and /etc/subgid"
    assert open_as(user, store) == f"the store {store} is {ids}, {HINT}"
