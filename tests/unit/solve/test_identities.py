"""A step that sees the same files is not made again, whatever else there is where they are from.

Source of what counts: BuildKit's checksums of files (cache/contenthash in moby/buildkit) have name,
type, mode, owner, attributes and bytes, and no times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.engine.solve import contents, ops
from layerline.engine.solve.container_stage import adopt
from layerline.engine.solve.result import Result
from layerline.engine.store.ingest import ingest
from layerline.log import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.solve.conftest import OpenSession, SolverSession

EMPTY = ops.Scratch()


def source(other: bytes = b"one", same: bytes = b"same", mode: int = 0o644) -> ops.Op:
    """A directory of which `/sub` and `/sub/a` are looked at, and `/other` is not."""
    tree: ops.Op = ops.NewFile(base=EMPTY, path="/sub/a", data=same, mode=mode)
    tree = ops.NewFile(base=tree, path="/sub/deep/b", data=b"b")
    return ops.NewFile(base=tree, path="/other", data=other)


def copied_file(tree: ops.Op) -> ops.Op:
    return ops.CopyFile(base=EMPTY, path="/r", source=tree, source_path="/sub/a", name="a")


def copied_directory(tree: ops.Op) -> ops.Op:
    return ops.CopyDirectory(base=EMPTY, path="/r", source=tree, source_path="/sub")


def copied_part(tree: ops.Op) -> ops.Op:
    base = ops.NewDirectory(base=EMPTY, path="/d")
    return ops.CopyDirectory(base=base, path="/r", source=tree, include=("sub/**",))


def copied_without(tree: ops.Op) -> ops.Op:
    base = ops.NewDirectory(base=EMPTY, path="/d")
    return ops.CopyDirectory(base=base, path="/r", source=tree, exclude=("oth*",))


def copied_by_dockerfile(tree: ops.Op) -> ops.Op:
    return ops.DockerfileCopy(base=EMPTY, destination="/r/", source=tree, patterns=("/su*",))


def copied_with_parents(tree: ops.Op) -> ops.Op:
    patterns = ("/./sub/a", "/sub/./deep")
    return ops.DockerfileCopy(
        base=EMPTY, destination="/r/", source=tree, patterns=patterns, parents=True
    )


STEPS = {
    "file": copied_file,
    "directory": copied_directory,
    "include": copied_part,
    "exclude": copied_without,
    "COPY": copied_by_dockerfile,
    "COPY --parents": copied_with_parents,
}
DIFFERENT = {
    "bytes": source(same=b"else"),
    "mode": source(mode=0o755),
    "owner": ops.Chown(base=source(), path="/sub/a", owner="7:7"),
}


async def is_shared(session: SolverSession, one: ops.Op, other: ops.Op) -> bool:
    """Whether the second step takes the result of the first."""
    assert one.key != other.key
    first = await session.solver.result(one)
    session.events.clear()
    second = await session.solver.result(other)
    shared = [event.status for event in session.events if event.status][-1] is Status.CACHED
    assert shared == (first.layers == second.layers) == (first.identity == second.identity)
    return shared


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_what_is_not_taken_does_not_count(
    open_session: OpenSession, step: Callable[[ops.Op], ops.Op]
) -> None:
    async with open_session() as session:
        assert await is_shared(session, step(source()), step(source(other=b"two")))


@pytest.mark.parametrize("other", DIFFERENT.values(), ids=DIFFERENT)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_what_is_taken_counts(
    open_session: OpenSession, step: Callable[[ops.Op], ops.Op], other: ops.Op
) -> None:
    async with open_session() as session:
        assert not await is_shared(session, step(source()), step(other))


async def test_the_steps_after_it_and_the_next_session_are_shared_too(
    open_session: OpenSession,
) -> None:
    def chain(other: bytes) -> ops.Op:
        return ops.NewFile(base=copied_file(source(other)), path="/z", data=b"z")

    async with open_session() as session:
        await session.solver.result(chain(b"one"))
    async with open_session() as session:
        await session.solver.result(chain(b"two"))
        assert session.completed_steps() == ["withNewFile /other"]


async def test_a_name_counts_where_the_copy_has_it(open_session: OpenSession) -> None:
    def copy(path: str, target: str) -> ops.Op:
        tree = ops.NewFile(base=EMPTY, path=path, data=b"x")
        return ops.CopyFile(base=EMPTY, path=target, source=tree, source_path=path, name=path[1:])

    async with open_session() as session:
        assert await is_shared(session, copy("/a", "/r"), copy("/b", "/r"))
        assert not await is_shared(session, copy("/a", "/r/"), copy("/b", "/r/"))


async def test_times_count_where_a_step_has_set_them(open_session: OpenSession) -> None:
    def copy(timestamp: int, other: bytes) -> ops.Op:
        tree = ops.Timestamps(base=source(other), path="/", timestamp=timestamp)
        return copied_directory(tree)

    async with open_session() as session:
        assert not await is_shared(session, copy(1, b"one"), copy(2, b"one"))
        assert await is_shared(session, copy(3, b"one"), copy(3, b"two"))


async def test_the_parts_of_an_import_are_known_without_reading_them(
    open_session: OpenSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, other in (("x", "one"), ("y", "two")):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a").write_text("same")
        (tmp_path / name / "other").write_text(other)
    async with open_session() as session:

        def stored(name: str) -> ops.Op:
            found = ingest(session.store, tmp_path / name)
            return ops.Stored(digest=found.digest, snapshots=(found.snapshot,))

        plain, changed = stored("x"), stored("y")
        monkeypatch.setattr(contents, "tree_digest", None)
        assert await is_shared(session, copied_directory(plain), copied_directory(changed))


async def test_a_large_tree_is_known_by_the_step_that_made_it(
    open_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_MOST_ENTRIES", 2)
    async with open_session() as session:
        one, other = source(), source(other=b"two")
        assert not await is_shared(session, copied_directory(one), copied_directory(other))
        assert await is_shared(session, copied_file(one), copied_file(other))


async def test_a_result_of_an_older_release_is_read(open_session: OpenSession) -> None:
    step = copied_file(source())
    async with open_session() as session:
        await session.solver.result(step)
        row = session.store.index.get("result", step.key)
        assert row is not None
        identity = row.pop("identity")
        names = list(map(str, row["layers"]))  # type: ignore[call-overload]
        session.store.index.put("result", step.key, row, snapshots=names)
        session.store.index.remove([("result", str(identity))])
    async with open_session() as session:
        assert await session.read(step, "/r") == b"same"
        assert session.completed_steps() == []


async def test_a_path_that_is_missing_is_the_steps_error(open_session: OpenSession) -> None:
    step = ops.CopyFile(base=EMPTY, path="/r", source=source(), source_path="/none", name="none")
    async with open_session() as session:
        with pytest.raises(Exception, match=r"^/none"):
            await session.solver.result(step)


def test_what_an_exec_wrote_is_placed_over_the_files_mounted_here() -> None:
    def run(path: str) -> ops.Exec:
        mounts = (ops.DirectoryMount(target="/m", source=source(), path=path),)
        return ops.Exec(rootfs=EMPTY, argv=("true",), mounts=mounts)

    class Context:
        @staticmethod
        def flat(layers: tuple[str, ...]) -> tuple[str, ...]:
            return layers

    inputs = {source().key: Result(layers=("own",))}
    left = Result(layers=("root",), mounts=(("theirs",),), identity="i")
    found = adopt(run("/sub"), left, inputs, Context())  # type: ignore[arg-type]
    assert found is not None
    assert found.mounts == (("own",),)
