"""Differences as layers and patches, put onto other trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.engine.solve import ops
from layerline.errors import QueryError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.solve.conftest import OpenSession, SolverSession

FILES = {"/same": "1\n", "/chg": "old\n", "/gone": "x\n", "/d/in": "1\n", "/gd/x": "x\n"}


def tree(files: dict[str, str], base: ops.Op | None = None, mode: int = 0o644) -> ops.Op:
    made = base or ops.Scratch()
    for path, text in files.items():
        made = ops.NewFile(base=made, path=path, data=text.encode(), mode=mode)
    return made


def difference(base: ops.Op, other: ops.Op) -> ops.Diff:
    return ops.Diff(base=base, base_path="/", other=other, other_path="/")


def apply_changes(base: ops.Op, before: ops.Op, after: ops.Op) -> ops.Changed:
    return ops.Changed(
        base=base, path="/", before=before, before_path="/", after=after, after_path="/"
    )


async def paths(session: SolverSession, op: ops.Op) -> list[str]:
    layers = (await session.solver.result(op)).layers
    return [entry.path + "/" * entry.is_dir for entry in session.store.tree(layers).walk()]


async def test_a_diff_shows_what_came_and_changed(open_session: OpenSession) -> None:
    before = tree(FILES)
    changed = tree({"/chg": "new\n", "/new": "1", "/d/n": "1"}, before)
    after = ops.Remove(base=changed, paths=("/gone",))
    async with open_session() as session:
        assert await paths(session, difference(before, after)) == ["/chg", "/d/", "/d/n", "/new"]


async def test_a_directory_that_lost_something_is_shown(open_session: OpenSession) -> None:
    before = tree(FILES)
    async with open_session() as session:
        after = ops.Remove(base=before, paths=("/d/in", "/gd"))
        assert await paths(session, difference(before, after)) == ["/d/"]


async def test_trees_made_apart_but_alike_do_not_differ(open_session: OpenSession) -> None:
    async with open_session() as session:
        one, other = tree(FILES), tree(dict(reversed(FILES.items())))
        assert await paths(session, difference(one, other)) == []


async def test_bytes_count_where_size_and_time_are_equal(open_session: OpenSession) -> None:
    async with open_session() as session:
        op = difference(tree({"/a": "1", "/b": "1"}), tree({"/a": "2", "/b": "1"}))
        assert await paths(session, op) == ["/a"]


async def test_a_time_alone_is_a_difference(open_session: OpenSession) -> None:
    before = tree({"/a": "1", "/b": "1"})
    async with open_session() as session:
        after = ops.Timestamps(base=before, path="/a", timestamp=5)
        assert await paths(session, difference(before, after)) == ["/a"]


async def test_a_layer_that_only_adds_is_the_diff_itself(open_session: OpenSession) -> None:
    before = tree(FILES)
    after = tree({"/venv/lib/x.py": "x"}, before)
    async with open_session() as session:
        top = (await session.solver.result(after)).layers[-1]
        assert (await session.solver.result(difference(before, after))).layers == (top,)


async def test_a_diff_of_directories_below_the_root_begins_at_them(
    open_session: OpenSession,
) -> None:
    before = tree(FILES)
    after = tree({"/d/new/f": "1", "/elsewhere": "1"}, before)
    async with open_session() as session:
        op = ops.Diff(base=before, base_path="/d", other=after, other_path="/d")
        assert await paths(session, op) == ["/new/", "/new/f"]


async def test_changes_are_applied_with_their_removals(open_session: OpenSession) -> None:
    before = tree(FILES)
    after = ops.Remove(base=tree({"/chg": "new\n", "/nd/y": "y"}, before), paths=("/gone", "/gd"))
    mine = tree({"/mine": "m", "/chg": "old\n", "/gone": "x", "/gd/x": "x", "/d/own": "1"})
    async with open_session() as session:
        op = apply_changes(mine, before, after)
        assert await paths(session, op) == ["/chg", "/d/", "/d/own", "/mine", "/nd/", "/nd/y"]
        assert await session.read(op, "/chg") == b"new\n"


async def test_a_file_that_became_a_directory_is_replaced(open_session: OpenSession) -> None:
    before, after = tree({"/f": "x"}), tree({"/f/g": "x"})
    async with open_session() as session:
        assert await paths(session, apply_changes(before, before, after)) == ["/f/", "/f/g"]
        assert await paths(session, apply_changes(after, after, before)) == ["/f"]


async def test_a_patch_of_the_changes_leads_from_one_to_the_other(
    open_session: OpenSession,
) -> None:
    before = ops.Symlink(base=tree({**FILES, "/e x/ä": "1\n"}), target="same", path="/link")
    after = tree({"/chg": "new\n", "/nd/y": "y", "/e x/ä": "2\n"}, before)
    after = ops.Remove(base=after, paths=("/gone", "/gd", "/link"))
    after = ops.Symlink(base=after, target="chg", path="/link")
    op = ops.ChangesPatch(before=before, before_path="/", after=after, after_path="/")
    async with open_session() as session:
        patch = await session.read(op, "/diff.patch")
        assert b"--- a/gone\n+++ /dev/null\n" in patch
        patched = ops.Patched(base=before, path="/", patch=patch)
        assert await paths(session, patched) == await paths(session, after)
        assert await session.read(patched, "/link") == b"new\n"
        assert await session.read(patched, "/e x/ä") == b"2\n"
        assert await session.read(before, "/chg") == b"old\n"


async def test_a_patch_can_make_a_file_executable(open_session: OpenSession) -> None:
    patch = b"diff --git a/f b/f\nold mode 100644\nnew mode 100755\n"
    async with open_session() as session:
        op = ops.Patched(base=tree({"/f": "x"}), path="/", patch=patch)
        layers = (await session.solver.result(op)).layers
        assert session.store.tree(layers).lookup("/f").mode == 0o755


async def test_a_patch_that_does_not_fit_changes_nothing(open_session: OpenSession) -> None:
    patch = b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-other\n+new\n"
    async with open_session() as session:
        with pytest.raises(QueryError, match="patch does not apply"):
            await session.solver.result(
                ops.Patched(base=tree({"/f": "x\n"}), path="/", patch=patch)
            )


@pytest.mark.parametrize("name", ["../out", "/out", "link/out"])
async def test_a_patch_stays_inside(open_session: OpenSession, tmp_path: Path, name: str) -> None:
    base = ops.Symlink(base=ops.Scratch(), target=str(tmp_path), path="/link")
    patch = f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n".encode()
    async with open_session() as session:
        with pytest.raises(QueryError, match=r"invalid path|beyond a symbolic link"):
            await session.solver.result(ops.Patched(base=base, path="/", patch=patch))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path.parent / "out").exists()
