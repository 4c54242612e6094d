"""Changesets: what they say, how they merge, and what they do to the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.conftest import ask, fail

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

BASE = {"f": "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "gone": "a\nb\nc\n", "d/x": "x\n"}


async def directory(session: Session, files: dict[str, str]) -> str:
    """The id of a directory with these files."""
    chain = "".join(f'withNewFile(path: "{p}", contents: {_text(t)}) {{ ' for p, t in files.items())
    data = (await ask(session, f"{{ directory {{ {chain} id {'}' * (len(files) + 2)}"))["directory"]
    for _ in files:
        data = data["withNewFile"]
    return str(data["id"])


def _text(text: str) -> str:
    return '"' + text.replace("\n", "\\n") + '"'


async def changeset(session: Session, after: dict[str, str]) -> str:
    """The id of the changes from BASE to these files."""
    before = await directory(session, BASE)
    node = await on(session, await directory(session, after), f'changes(from: "{before}") {{ id }}')
    return str(node["changes"]["id"])


async def on(session: Session, identifier: str, fields: str) -> dict[str, Any]:
    """Fields of an object."""
    kind = identifier.partition(":")[0]
    query = f'{{ node(id: "{identifier}") {{ ... on {kind} {{ {fields} }} }} }}'
    node: dict[str, Any] = (await ask(session, query))["node"]
    return node


def with_line(number: int, text: str) -> dict[str, str]:
    lines = BASE["f"].splitlines()
    lines[number] = text
    return {**BASE, "f": "\n".join(lines) + "\n"}


def without(*names: str) -> dict[str, str]:
    return {name: text for name, text in BASE.items() if name not in names}


async def test_the_stats_say_what_came_went_and_moved(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        after = {**with_line(0, "one"), "moved": BASE["gone"], "e/new": "1\n2\n"}
        del after["gone"]
        fields = "diffStats { path oldPath kind addedLines removedLines } isEmpty removedPaths"
        found = await on(session, await changeset(session, after), fields)
        rows = [tuple(stat.values()) for stat in found["diffStats"]]
        assert rows == [
            ("e/", None, "ADDED", 0, 0),
            ("e/new", None, "ADDED", 2, 0),
            ("f", None, "MODIFIED", 1, 1),
            ("moved", "gone", "RENAMED", 0, 0),
        ]
        assert found["isEmpty"] is False
        assert found["removedPaths"] == ["gone"]


async def test_changes_to_different_lines_merge(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        ours = await changeset(session, with_line(0, "one"))
        theirs = await changeset(session, {**with_line(8, "nine"), "e/new": "n\n"})
        fields = 'after { glob(pattern: "**") file(path: "f") { contents } }'
        merged = await on(session, ours, f'withChangeset(changes: "{theirs}") {{ {fields} }}')
        after = merged["withChangeset"]["after"]
        assert after["file"]["contents"].splitlines()[::8] == ["one", "nine"]
        assert after["glob"] == ["d/", "d/x", "e/", "e/new", "f", "gone"]


@pytest.mark.parametrize(
    ("on_conflict", "line"),
    [("PREFER_OURS", "ours"), ("PREFER_THEIRS", "theirs"), ("LEAVE_CONFLICT_MARKERS", "<<<<<<<")],
)
async def test_a_conflict_ends_as_it_is_asked_to(
    open_a_session: OpenSession, on_conflict: str, line: str
) -> None:
    async with open_a_session() as session:
        ours = await changeset(session, with_line(0, "ours"))
        theirs = await changeset(session, with_line(0, "theirs"))
        arguments = f'changes: "{theirs}", onConflict: {on_conflict}'
        fields = f'withChangeset({arguments}) {{ after {{ file(path: "f") {{ contents }} }} }}'
        merged = await on(session, ours, fields)
        contents = merged["withChangeset"]["after"]["file"]["contents"]
        assert contents.startswith(line)


@pytest.mark.parametrize("preferred", ["PREFER_OURS", "PREFER_THEIRS"])
async def test_a_file_that_one_changed_and_one_removed(
    open_a_session: OpenSession, preferred: str
) -> None:
    async with open_a_session() as session:
        ours = await changeset(session, with_line(0, "ours"))
        theirs = await changeset(session, without("f"))
        arguments = f'changes: "{theirs}", onConflict: {preferred}'
        fields = f'withChangeset({arguments}) {{ after {{ exists(path: "f") }} }}'
        merged = await on(session, ours, fields)
        assert merged["withChangeset"]["after"]["exists"] is (preferred == "PREFER_OURS")


@pytest.mark.parametrize(
    ("on_conflict", "message"),
    [("FAIL", "Merge conflict in f"), ("FAIL_EARLY", 'at path "f": path modified in both')],
)
async def test_a_conflict_that_nobody_decides_is_an_error(
    open_a_session: OpenSession, on_conflict: str, message: str
) -> None:
    async with open_a_session() as session:
        ours = await changeset(session, with_line(0, "ours"))
        theirs = await changeset(session, with_line(0, "theirs"))
        merge = f'withChangeset(changes: "{theirs}", onConflict: {on_conflict}) {{ isEmpty }}'
        error = await fail(
            session, f'{{ node(id: "{ours}") {{ ... on Changeset {{ {merge} }} }} }}'
        )
        assert message in error["message"]


async def test_many_changesets_merge_at_once(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        nothing = await changeset(session, BASE)
        others = [await changeset(session, {**BASE, name: "1\n"}) for name in ("a", "b")]
        ours = await changeset(session, without("gone"))
        ids = ", ".join(f'"{each}"' for each in (nothing, *others))
        merged = await on(
            session, ours, f"withChangesets(changes: [{ids}]) {{ addedPaths removedPaths }}"
        )
        assert merged["withChangesets"] == {"addedPaths": ["a", "b"], "removedPaths": ["gone"]}


async def test_an_export_removes_and_follows_no_link(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (outside / "x").write_text("stays")
    (target / "gone").write_text("goes")
    (target / "mine").write_text("stays")
    (target / "d").symlink_to(outside)
    async with open_a_session() as session:
        changes = await changeset(session, {"f": BASE["f"], "d/new": "n\n"})
        exported = await on(session, changes, 'export(path: "target")')
    assert exported["export"] == str(target)
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    assert found == ["d", "d/new", "mine"]
    assert [path.read_text() for path in outside.iterdir()] == ["stays"]
