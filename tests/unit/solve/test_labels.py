"""Steps are called by what the user wrote, in one line."""

from __future__ import annotations

import pytest

from layerline.engine.solve import ops
from layerline.engine.solve.labels import describe

EMPTY = ops.Scratch()
COPIED = ops.DockerfileCopy(base=EMPTY, source=EMPTY, patterns=("/a b", "/c"), destination="/app/")
UNPACKED = ops.DockerfileCopy(
    base=EMPTY, source=EMPTY, patterns=("/x.tar",), destination="/", unpack=True
)


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (ops.Exec(rootfs=EMPTY, argv=("sh", "-c", "a\n  b")), "withExec sh -c 'a b'"),
        (ops.NewFile(base=EMPTY, path="/a", data=b""), "withNewFile /a"),
        (ops.Remove(base=EMPTY, paths=("/a", "/b")), "without /a /b"),
        (ops.Chown(base=EMPTY, path="/a", owner="1"), "chown /a"),
        (ops.Patched(base=EMPTY, path="/a", patch=b""), "withPatch /a"),
        (COPIED, "COPY '/a b' /c /app/"),
        (UNPACKED, "ADD /x.tar /"),
        (EMPTY, "Scratch"),
    ],
)
def test_names(op: ops.Op, name: str) -> None:
    assert describe(op) == name


def test_a_long_command_is_cut() -> None:
    name = describe(ops.Exec(rootfs=EMPTY, argv=("echo", "x" * 500)))
    assert len(name) == 200
    assert name.endswith("x…")
