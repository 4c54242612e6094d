"""Keys are pure functions of what an op says, and documents come back as they were."""

from __future__ import annotations

import dataclasses

import pytest

from layerline.engine.api.objects import Directory
from layerline.engine.solve import keys, ops
from layerline.engine.solve.keys import identity_of
from layerline.engine.solve.serialization import decode, encode


def a_file(data: bytes = b"x", base: ops.Op | None = None) -> ops.NewFile:
    return ops.NewFile(base=base or ops.Scratch(), path="/a", data=data)


def test_equal_steps_have_equal_keys() -> None:
    assert a_file().key == a_file().key


@pytest.mark.parametrize(
    "other",
    [
        a_file(b"y"),
        a_file(base=ops.NewDirectory(base=ops.Scratch(), path="/d")),
        ops.NewFile(base=ops.Scratch(), path="/a", data=b"x", mode=0o600),
        ops.NewFile(base=ops.Scratch(), path="/a", data=b"x", owner="1:1"),
    ],
)
def test_every_argument_and_parent_is_in_the_key(other: ops.Op) -> None:
    assert other.key != a_file().key


def test_what_is_stored_is_known_by_its_digest_alone() -> None:
    one = ops.Stored(digest="d", snapshots=("a", "b"))
    two = ops.Stored(digest="d", snapshots=("c",))
    assert one.key == two.key
    assert ops.Stored(digest="e", snapshots=("c",)).key != two.key


def test_of_a_volatile_variable_the_name_is_in_the_key_and_the_value_is_not() -> None:
    # Recorded on the Dagger engine: isolation/volatile-{value-is-not,name-is}-in-the-key.
    def exec_with(*volatile: tuple[str, str]) -> ops.Exec:
        return ops.Exec(rootfs=ops.Scratch(), argv=("true",), volatile=volatile)

    assert exec_with(("V", "1")).key == exec_with(("V", "2")).key
    assert len({exec_with().key, exec_with(("V", "1")).key, exec_with(("W", "1")).key}) == 3
    assert exec_with(("V", "1"), ("W", "2")).key == exec_with(("W", "3"), ("V", "4")).key


def test_the_epoch_of_a_kind_is_in_the_keys_of_its_steps_and_of_those_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def steps() -> tuple[ops.Op, ops.Op, ops.Op]:
        made = ops.ExecRootfs(exec=ops.Exec(rootfs=a_file(), argv=("true",)))
        return a_file(), made.exec, a_file(base=made)

    before = steps()
    monkeypatch.setitem(keys._EPOCHS, ops.Exec, 1)
    after = steps()
    assert [old.key == new.key for old, new in zip(before, after, strict=True)] == [
        True,
        False,
        False,
    ]
    assert encode(after[1]) != encode(before[1])  # under the new key,
    assert decode(encode(after[1])) == before[1]  # and otherwise as before
    monkeypatch.setitem(keys._EPOCHS, ops.Exec, 2)
    assert steps()[1].key not in (before[1].key, after[1].key)


def test_other_rules_of_unpacking_are_another_step() -> None:
    add = ops.DockerfileCopy(
        base=ops.Scratch(), destination="/", source=ops.Scratch(), patterns=("/x",), unpack=True
    )
    assert dataclasses.replace(add, rules=1).key != add.key


def test_a_proxy_of_a_dockerfile_is_not_in_the_key() -> None:
    # BuildKit clears ProxyEnv before it makes an exec's cache key (solver/llbsolver/ops/exec.go).
    op = ops.Exec(rootfs=ops.Scratch(), argv=("true",))
    assert dataclasses.replace(op, proxies=(("HTTP_PROXY", "p"),)).key == op.key


def test_the_value_of_a_volatile_variable_survives_a_document() -> None:
    op = ops.Exec(rootfs=ops.Scratch(), argv=("true",), volatile=(("V", "1"),))
    again = decode(encode(Directory(tree=ops.ExecRootfs(exec=op)))).tree.exec
    assert again.volatile == op.volatile
    assert again.key == op.key


def test_the_cache_volume_of_a_mount_is_in_the_key() -> None:
    def exec_with(volume: str) -> ops.Exec:
        mount = ops.CacheMount(target="/c", volume=volume)
        return ops.Exec(rootfs=ops.Scratch(), argv=("true",), mounts=(mount,))

    assert exec_with("one").key != exec_with("two").key


def test_a_value_comes_back_from_its_document() -> None:
    exec_op = ops.Exec(
        rootfs=a_file(b"\xff\x00"),
        argv=("sh", "-c", "true"),
        env=(("A", "b"),),
        mounts=(ops.DirectoryMount(target="/m", source=a_file()), ops.TemporaryMount(target="/t")),
    )
    value = Directory(tree=ops.ExecRootfs(exec=exec_op), path="/m")
    again = decode(encode(value))
    assert again == value
    assert again.tree.key == value.tree.key
    assert identity_of(again) == identity_of(value)


def test_a_deep_chain_needs_no_deep_stack() -> None:
    op: ops.Op = ops.Scratch()
    for number in range(3000):
        op = ops.NewFile(base=op, path=f"/{number}", data=b"")
    assert decode(encode(Directory(tree=op))).tree.key == op.key


def test_a_shared_parent_is_written_once() -> None:
    shared = a_file()
    document = encode(
        Directory(tree=ops.Diff(base=shared, base_path="/", other=shared, other_path="/"))
    )
    assert len(document["ops"]) == 3  # the diff, the file, scratch
