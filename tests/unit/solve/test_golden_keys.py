"""Keys, ids and documents are wire formats: what they are today, stores hold.

A change here means that every step of that kind runs again and that older rows are not found.
Change it only where the meaning of a step changes, with `KEY_EPOCH`, and say so in CHANGELOG.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from layerline.engine.api.objects import Container, Directory
from layerline.engine.api.schema import load_resolvers
from layerline.engine.image.config import ImageConfig
from layerline.engine.solve import ops
from layerline.engine.solve.keys import CLASSES, KEY_EPOCH, identity_of, wire_name
from layerline.engine.solve.serialization import encode
from layerline.engine.solve.service_definitions import ServiceBinding, ServiceDefinition

GOLDEN = json.loads(Path(__file__).with_name("golden_keys.json").read_text())
EMPTY = ops.Scratch()
FILE = ops.NewFile(base=EMPTY, path="/a", data=b"x")
EXEC = ops.Exec(
    rootfs=FILE,
    argv=("sh", "-c", "true"),
    env=(("A", "b"),),
    secret_env=(("S", ops.SecretRef(identity="i", name="n")),),
    volatile=(("V", "value"),),
    mounts=(
        ops.DirectoryMount(target="/d", source=FILE),
        ops.FileMount(target="/f", source=FILE, path="/a"),
        ops.CacheMount(target="/c", volume="v", seed=FILE),
        ops.TemporaryMount(target="/t", size=1),
        ops.SecretMount(target="/s", secret=ops.SecretRef(identity="i")),
        ops.SocketMount(target="/u", host_path="/run/u"),
    ),
    bindings=(ServiceBinding(alias="db", service=ServiceDefinition(hostname="db")),),
)
VALUES = {
    "Scratch": EMPTY,
    "Stored": ops.Stored(digest="d", snapshots=("s",)),
    "NewFile": FILE,
    "NewDirectory": ops.NewDirectory(base=EMPTY, path="/d"),
    "Symlink": ops.Symlink(base=EMPTY, target="a", path="/l"),
    "Remove": ops.Remove(base=FILE, paths=("/a",)),
    "CopyDirectory": ops.CopyDirectory(base=EMPTY, path="/", source=FILE, include=("a",)),
    "CopyFile": ops.CopyFile(base=EMPTY, path="/b", source=FILE, source_path="/a", name="a"),
    "Placed": ops.DockerfileCopy(base=EMPTY, destination="/", source=FILE, patterns=("/a",)),
    "Chown": ops.Chown(base=FILE, path="/a", owner="1:1", names=ops.Names(tree=FILE)),
    "Timestamps": ops.Timestamps(base=FILE, path="/", timestamp=1),
    "Replaced": ops.Replaced(base=FILE, path="/a", search="x", replacement="y"),
    "Diff": ops.Diff(base=EMPTY, base_path="/", other=FILE, other_path="/"),
    "Changed": ops.Changed(
        base=EMPTY, path="/", before=EMPTY, before_path="/", after=FILE, after_path="/"
    ),
    "Patched": ops.Patched(base=FILE, path="/", patch=b"p"),
    "ChangesPatch": ops.ChangesPatch(before=EMPTY, before_path="/", after=FILE, after_path="/"),
    "Exec": EXEC,
    "ExecRootfs": ops.ExecRootfs(exec=EXEC),
    "ExecMount": ops.ExecMount(exec=EXEC, index=0),
    "ServiceSpec": ServiceDefinition(exec=EXEC, hostname="h"),
}
OBJECTS = {
    "Directory": Directory(tree=FILE, path="/d"),
    "Container": Container(config=ImageConfig(), rootfs=FILE, last_exec=EXEC),
}


def names_on_the_wire() -> dict[str, list[str]]:
    """The fields of every registered class, by its wire name."""
    load_resolvers()
    return {
        name: sorted(
            wire_name(f) for f in dataclasses.fields(cls) if f.metadata.get("written", True)
        )
        for name, cls in sorted(CLASSES.items())
        if not name.startswith("_")
    }


def test_keys_of_ops_are_what_stores_hold() -> None:
    assert GOLDEN["epoch"] == KEY_EPOCH
    assert {name: op.key for name, op in VALUES.items()} == GOLDEN["keys"]


def test_ids_of_objects_are_what_sessions_gave() -> None:
    assert {name: identity_of(value) for name, value in OBJECTS.items()} == GOLDEN["identities"]


def test_every_registered_class_has_its_names_pinned() -> None:
    assert names_on_the_wire() == GOLDEN["names"]


def test_every_kind_of_op_is_pinned() -> None:
    kinds = {name for name, cls in CLASSES.items() if issubclass(cls, ops.Op)}
    assert kinds <= VALUES.keys()


def test_a_document_is_written_under_those_names() -> None:
    assert encode(OBJECTS["Container"]) == GOLDEN["document"]
