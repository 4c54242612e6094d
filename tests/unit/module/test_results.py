"""Results of calls are remembered with what their ids name, as long as policies say."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.api.objects import Container, Directory, File, Secret
from layerline.engine.image.config import ImageConfig
from layerline.engine.module.definitions import Function, TypeDef
from layerline.engine.module.objects import ModuleObject, module_object
from layerline.engine.module.results import key_of, lifetime, recall, remember
from layerline.engine.solve.keys import identity_of
from layerline.engine.solve.ops import Exec, ExecRootfs, NewFile, Scratch, SecretRef, Stored
from layerline.engine.solve.service_definitions import PortSpec
from layerline.engine.store.store import Store
from tests.conftest import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECALL = """\
import pathlib, sys
from layerline.engine.module.objects import ModuleObject, module_object
from layerline.engine.module.results import recall
from layerline.engine.store.store import Store
with Store.open(pathlib.Path(sys.argv[1])) as store:
    [container] = recall(store.index, "key").objects.values()
    print(container.ports[0].port)
"""
DAY = 24 * 3600.0
FUNCTION = Function(name="f", return_type=TypeDef(kind="STRING_KIND"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def name_of(value: Directory | File | Secret | Container | ModuleObject) -> str:
    return f"{value.typename}:{identity_of(value)}"


@pytest.mark.parametrize(
    ("policy", "ttl", "caching", "seconds"),
    [
        ("Default", None, True, 7 * DAY),
        ("Default", None, False, 0.0),
        ("Default", "10s", True, 10.0),
        ("Default", "10s", False, 10.0),
        ("Default", "720h", True, 7 * DAY),
        ("Default", "0", True, None),
        ("PerSession", None, True, 0.0),
        ("Never", None, True, None),
    ],
)
def test_how_long_a_result_holds(
    policy: str, ttl: str | None, *, caching: bool, seconds: float | None
) -> None:
    function = replace(FUNCTION, cache_policy=policy, time_to_live=ttl)
    assert lifetime(function, caching=caching) == seconds


def test_the_key_holds_code_object_function_and_arguments() -> None:
    key = key_of("m", "Sample", "f", {"a": 1}, {"x": 1})
    assert key == key_of("m", "Sample", "f", {"a": 1}, {"x": 1})
    others = {
        key_of("n", "Sample", "f", {"a": 1}, {"x": 1}),
        key_of("m", "Other", "f", {"a": 1}, {"x": 1}),
        key_of("m", "Sample", "g", {"a": 1}, {"x": 1}),
        key_of("m", "Sample", "f", {"a": 2}, {"x": 1}),
        key_of("m", "Sample", "f", {"a": 1}, {"x": 2}),
    }
    assert len(others - {key}) == 5


def test_a_result_comes_back_with_its_objects(store: Store) -> None:
    directory = Directory(tree=NewFile(base=Scratch(), path="/x", data=b"x"))
    name = name_of(directory)
    remember(store.index, "k", {"d": [name]}, seconds=60, load=lambda _: directory)
    found = recall(store.index, "k")
    assert found is not None
    assert found.value == {"d": [name]}
    assert found.objects == {name: directory}


def test_an_expired_result_is_a_miss(store: Store) -> None:
    remember(store.index, "k", "v", seconds=0.01, load=lambda _: None)
    time.sleep(0.02)
    assert recall(store.index, "k") is None


def test_a_result_whose_files_are_gone_is_a_miss(store: Store) -> None:
    gone = Directory(tree=Stored(digest="sha256:" + "0" * 64, snapshots=("gone",)))
    remember(store.index, "k", name_of(gone), seconds=60, load=lambda _: gone)
    assert recall(store.index, "k") is None


def test_what_only_this_session_has_is_not_remembered(store: Store) -> None:
    secret = Secret(identity="i", name="token")
    remember(store.index, "k", {"token": name_of(secret)}, seconds=60, load=lambda _: secret)
    assert recall(store.index, "k") is None


def test_steps_made_with_a_secret_are_remembered_while_they_are_kept(store: Store) -> None:
    env = (("TOKEN", SecretRef(identity="i")),)
    step = Exec(rootfs=Scratch(), argv=("true",), secret_env=env)
    placed = NewFile(base=ExecRootfs(exec=step), path="/x", data=b"x")
    directory = Directory(tree=placed)
    remember(store.index, "k", name_of(directory), seconds=DAY, load=lambda _: directory)
    assert recall(store.index, "k") is None
    store.index.put("result", placed.key, {})
    found = recall(store.index, "k")
    assert found is not None
    assert found.objects == {name_of(directory): directory}


def test_a_container_that_has_a_secret_is_not_remembered(store: Store) -> None:
    env = (("TOKEN", SecretRef(identity="i")),)
    value = Container(config=ImageConfig(), rootfs=Scratch(), secret_env=env)
    remember(store.index, "k", name_of(value), seconds=DAY, load=lambda _: value)
    assert recall(store.index, "k") is None


def test_another_process_reads_what_this_one_remembered(store: Store) -> None:
    value = Container(config=ImageConfig(), ports=(PortSpec(port=8000),))
    remember(store.index, "key", name_of(value), seconds=DAY, load=lambda _: value)
    argv: list[str | Path] = [sys.executable, "-c", RECALL, store.root]
    done = command.run(argv, env={"PYTHONPATH": str(SOURCE)})
    assert done.stdout == b"8000\n"


def test_what_the_state_of_another_modules_object_names_is_remembered(store: Store) -> None:
    directory = Directory(tree=NewFile(base=Scratch(), path="/a", data=b"b"))
    made = module_object("0" * 64, "other", "Thing", {"inner": [name_of(directory)]})
    objects = {name_of(directory): directory, name_of(made): made}
    remember(store.index, "key", name_of(made), seconds=60, load=objects.__getitem__)
    found = recall(store.index, "key")
    assert found is not None
    assert found.objects == objects


def test_an_object_that_holds_a_secret_is_of_its_session(store: Store) -> None:
    secret = Secret(identity="s")
    made = module_object("0" * 64, "other", "Thing", {"token": name_of(secret)})
    objects = {name_of(secret): secret, name_of(made): made}
    remember(store.index, "key", name_of(made), seconds=60, load=objects.__getitem__)
    assert recall(store.index, "key") is None
