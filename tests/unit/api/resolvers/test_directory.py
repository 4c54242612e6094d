"""Directories: what a selection of host files is known by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.conftest import ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import OpenSession

SELECTED = '{ host { directory(path: "p") { filter(include: ["src/**"]) { id digest } } } }'


async def test_what_is_left_out_of_a_directory_is_no_part_of_its_identity(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    place = tmp_path / "p"
    (place / "src").mkdir(parents=True)
    (place / "src/train.py").write_text("one")
    found = []
    for name, text in (("notes", "one"), ("notes", "two"), ("src/train.py", "two")):
        (place / name).write_text(text)
        async with open_a_session() as session:
            answer = await ask(session, SELECTED)
            found.append(answer["host"]["directory"]["filter"])
    assert found[0] == found[1]
    assert found[0]["id"] != found[2]["id"]
    assert found[0]["digest"] != found[2]["digest"]
