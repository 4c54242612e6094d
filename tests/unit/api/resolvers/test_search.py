"""Searches see the tree and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline import command
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import OpenSession

pytestmark = [
    pytest.mark.skipif(command.find("rg") is None, reason="ripgrep is not installed"),
]


async def test_a_search_sees_what_the_layers_show(
    open_a_session: OpenSession,
) -> None:
    query = """{ directory {
      withNewFile(path: "d/a", contents: "x needle\\n") {
        withNewFile(path: "d/b", contents: "needle") {
          withNewFile(path: "d/.c", contents: "needle") { withoutFile(path: "d/b") {
            search(pattern: "n[e]+dle") { filePath submatches { text start end } }
            shown: search(pattern: "needle", skipHidden: true, filesOnly: true) { filePath }
    } } } } } }"""
    async with open_a_session() as session:
        data = (await ask(session, query))["directory"]
    found = data["withNewFile"]["withNewFile"]["withNewFile"]["withoutFile"]
    assert [result["filePath"] for result in found["search"]] == ["d/.c", "d/a"]
    assert found["search"][1]["submatches"] == [{"text": "needle", "start": 2, "end": 8}]
    assert found["shown"] == [{"filePath": "d/a"}]


async def test_a_link_leads_nowhere_else(open_a_session: OpenSession, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("needle\n")
    query = f"""{{ directory {{ withSymlink(target: "{tmp_path}", linkName: "out") {{
      search(pattern: "needle") {{ filePath }} }} }} }}"""
    async with open_a_session() as session:
        data = await ask(session, query)
    assert data["directory"]["withSymlink"]["search"] == []
