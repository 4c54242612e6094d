"""`~` is the caller's home, for paths of the host and for secrets alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.errors import LayerlineError
from layerline.user_directories import expand_home
from tests.unit.conftest import ask, fail

if TYPE_CHECKING:
    from tests.unit.conftest import OpenSession

HOME = Path("/home/me")


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("~", "/home/me"),
        ("~/x", "/home/me/x"),
        ("a/~", "a/~"),
        ("./~other", "./~other"),
        ("/a", "/a"),
        ("", ""),
    ],
)
def test_the_home_is_expanded_at_the_start(path: str, expanded: str) -> None:
    assert expand_home(path, HOME) == expanded


@pytest.mark.parametrize("path", ["~other", "~other/x", "~~"])
def test_the_home_of_another_user_is_refused(path: str) -> None:
    with pytest.raises(LayerlineError, match=f"cannot expand home directory '{path}'"):
        expand_home(path, HOME)


async def test_a_secret_in_the_home_is_read(open_a_session: OpenSession, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hidden")
    async with open_a_session() as session:
        got = await ask(session, '{ secret(uri: "file://~/x") { plaintext } }')
        assert got["secret"]["plaintext"] == "hidden"


async def test_a_secret_is_not_read_next_to_the_home(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    neighbour = tmp_path.with_name(f"{tmp_path.name}other")
    neighbour.mkdir()
    (neighbour / "x").write_text("not mine")
    async with open_a_session() as session:
        error = await fail(session, '{ secret(uri: "file://~other/x") { plaintext } }')
        assert "cannot expand home directory '~other/x'" in error["message"]


async def test_a_host_path_in_another_home_is_refused(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        for field in ('directory(path: "~other")', 'file(path: "~other/x")'):
            error = await fail(session, f"{{ host {{ {field} {{ id }} }} }}")
            assert "cannot expand home directory" in error["message"]
