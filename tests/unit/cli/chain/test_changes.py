"""Changes are shown, and applied only when the user agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.cli.chain.changes import apply_changes
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.engine.module.queries import ask, literal
from layerline.errors import LayerlineError
from tests.unit.conftest import open_a_session

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

__all__ = ["open_a_session"]
pytestmark = pytest.mark.usefixtures("root")


async def make_changeset(session: Session, change: str) -> str:
    """The id of what a change of an empty directory is."""
    empty = (await ask(session, "{ directory { id } }"))["directory"]["id"]
    made = f"changes(from: {literal(empty)}) {{ id }}"
    found = await ask(session, f"{{ directory {{ {change} {{ {made} }} }} }}")
    return str(next(iter(found["directory"].values()))["changes"]["id"])


async def apply(session: Session, workdir: Path, change: str, *argv: str) -> None:
    console = Console(
        program="layerline",
        argv=[],
        options=Options.scan([f"--workdir={workdir}", *argv]),
        settings=session.settings,
    )
    await apply_changes(console, session, [await make_changeset(session, change)])


NEW = 'withNewFile(path: "a/b.txt", contents: "x")'


async def test_they_are_applied_where_the_user_is(
    open_a_session: OpenSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_a_session() as session:
        await apply(session, tmp_path, NEW, "-y")
    assert (tmp_path / "a" / "b.txt").read_text() == "x"
    assert "added    a/b.txt" in capsys.readouterr().err


async def test_nobody_to_ask_is_an_error(open_a_session: OpenSession, tmp_path: Path) -> None:
    async with open_a_session() as session:
        with pytest.raises(LayerlineError, match="without a terminal: use --auto-apply"):
            await apply(session, tmp_path, NEW)
    assert not (tmp_path / "a").exists()


async def test_no_changes_are_no_question(
    open_a_session: OpenSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_a_session() as session:
        await apply(session, tmp_path, 'withoutFile(path: "none")')
    assert capsys.readouterr().err == "no changes to apply\n"
