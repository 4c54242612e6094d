"""What surrounds a mistake and is not said by a file: stores, disks, registries, other users."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from tests.capabilities import no_machine_root, no_mounts
from tests.mistakes import registries
from tests.ordinary_user import ordinary_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from tests.mistakes.place import Place

    Situation = Callable[[Place], AbstractContextManager[Place]]


def _own_store(place: Place) -> Place:
    """A place whose store is no other mistake's, next to the working directory."""
    return place.with_environ(LAYERLINE_STORE=str(place.workdir.parent / "store"))


def _new_store(place: Place) -> Place:
    """The same with a store that a call has created."""
    own = _own_store(place)
    argv = ["core", "container", "sync"]
    made = own.warm.call(argv, env=own.environ, cwd=own.workdir, stdin=None)
    assert made.status == 0, made.stderr
    return own


@contextlib.contextmanager
def _store_of_another_version(place: Place) -> Iterator[Place]:
    own = _own_store(place)
    own.store.mkdir()
    for each in (place.store / "version", place.store / "index.db"):
        if each.exists():
            shutil.copy(each, own.store)
    (own.store / "version").write_text("99\n")
    yield own


@contextlib.contextmanager
def _file_for_a_store(place: Place) -> Iterator[Place]:
    own = _own_store(place)
    own.store.write_text("mine\n")
    yield own


@contextlib.contextmanager
def _directory_for_a_store(place: Place) -> Iterator[Place]:
    own = _own_store(place)
    own.store.mkdir()
    (own.store / "thesis.tex").write_text("mine\n")
    yield own


@contextlib.contextmanager
def _mounted(place: Place, *options: str) -> Iterator[Place]:
    """A place whose store and output are on a file system of their own."""
    _need(no_mounts)
    own = _own_store(place)
    disk = own.store.parent / "disk"
    disk.mkdir()
    command.run(["mount", "-t", "tmpfs", "-o", ",".join(("mode=755", *options)), "tmpfs", disk])
    try:
        yield own.with_environ(LAYERLINE_STORE=str(disk / "store")).with_values(disk=str(disk))
    finally:
        command.run(["umount", "--lazy", disk])


@contextlib.contextmanager
def _full_disk(place: Place) -> Iterator[Place]:
    with _mounted(place, "size=1m") as own:
        disk = Path(own.values["disk"])
        with contextlib.suppress(OSError), (disk / "large").open("wb") as file:
            file.write(bytes(2 << 20))
        yield own


@contextlib.contextmanager
def _full_output(place: Place) -> Iterator[Place]:
    """Only what is written is on the full disk."""
    with _full_disk(place) as own:
        yield own.with_environ(LAYERLINE_STORE=str(place.store))


@contextlib.contextmanager
def _read_only_disk(place: Place) -> Iterator[Place]:
    with _mounted(place, "ro") as own:
        yield own


@contextlib.contextmanager
def _read_only_output(place: Place) -> Iterator[Place]:
    with _read_only_disk(place) as own:
        yield own.with_environ(LAYERLINE_STORE=str(place.store))


@contextlib.contextmanager
def _user(place: Place, *, subordinate: bool = True) -> Iterator[Place]:
    """An ordinary user, who may not write to this store and not read the files of root."""
    _need(no_machine_root)
    with ordinary_user(subordinate=subordinate) as user:
        place.workdir.parent.chmod(0o755)
        for name in ("closed", "closed.txt"):
            path = place.workdir / name
            path.mkdir(mode=0o700) if name == "closed" else path.touch(mode=0o600)
        environ = {**user.environ(place.environ), "LAYERLINE_STORE": str(user.home / "store")}
        yield place.as_user(user.argv([]), environ).with_values(home=str(user.home))


@contextlib.contextmanager
def _store_of_root(place: Place) -> Iterator[Place]:
    """An ordinary user whose settings name the store of root."""
    own = _new_store(place)
    with _user(own) as user:
        yield user.with_environ(LAYERLINE_STORE=str(own.store))


@contextlib.contextmanager
def _user_without_ids(place: Place) -> Iterator[Place]:
    with _user(place, subordinate=False) as own:
        yield own


def _need(measure: Callable[[], str]) -> None:
    if reason := measure():
        pytest.skip(reason)


def _registry(name: str) -> Situation:
    """A server that answers as one of `registries` does."""

    @contextlib.contextmanager
    def situation(place: Place) -> Iterator[Place]:
        with registries.serving(name) as port:
            yield place.with_values(registry=f"127.0.0.1:{port}")

    return situation


SITUATIONS: Mapping[str, Situation] = {
    "a store of another version": _store_of_another_version,
    "a file where the store should be": _file_for_a_store,
    "a directory with other files where the store should be": _directory_for_a_store,
    "a full disk": _full_disk,
    "a full disk for the output": _full_output,
    "a read-only disk": _read_only_disk,
    "a read-only disk for the output": _read_only_output,
    "an ordinary user": _user,
    "an ordinary user without subordinate ids": _user_without_ids,
    "an ordinary user with the store of root": _store_of_root,
    **{f"a registry that {name}": _registry(name) for name in registries.ANSWERS},
}
