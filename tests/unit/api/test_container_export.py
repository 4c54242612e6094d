"""What a client in a container exports is written there, and nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.api.execute import answer
from layerline.errors import LayerlineError
from tests.unit.conftest import RootedProcess

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

FILE = 'directory { withNewFile(path: "a/b.txt", contents: "text") '


async def export(session: Session, root: Path, query: str) -> dict[str, Any]:
    """Answer a query of a client whose container has its root at `root`."""
    process = RootedProcess.at(root, cwd="/scratch")
    guest = session.admit(namespace="guest", process=process)
    got = await answer(f"{{ {query} }}", session.call(guest))
    if got.failure is not None:
        raise got.failure
    data: dict[str, Any] = got.body["data"]
    return data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "scratch").mkdir(parents=True)
    return tmp_path / "root"


async def test_a_file_and_a_directory_are_written_below_the_working_directory(
    open_a_session: OpenSession, root: Path
) -> None:
    async with open_a_session() as session:
        query = FILE + '{ export(path: "out") file(path: "a/b.txt") { export(path: "deep/c") } } }'
        data = await export(session, root, query)
        made = data["directory"]["withNewFile"]
        assert made == {"export": "/scratch/out", "file": {"export": "/scratch/deep/c"}}
    assert (root / "scratch/out/a/b.txt").read_text() == "text"
    assert (root / "scratch/deep/c").read_text() == "text"


async def test_a_directory_is_merged_or_takes_the_place_of_what_was_there(
    open_a_session: OpenSession, root: Path
) -> None:
    (root / "scratch" / "a").mkdir()
    (root / "scratch" / "a" / "old").touch()
    async with open_a_session() as session:
        await export(session, root, FILE + '{ export(path: ".") } }')
        assert sorted(path.name for path in (root / "scratch" / "a").iterdir()) == ["b.txt", "old"]
        await export(session, root, FILE + '{ export(path: ".", wipe: true) } }')
        assert sorted(path.name for path in (root / "scratch" / "a").iterdir()) == ["b.txt"]


@pytest.mark.parametrize("target", ["{outside}", "../../../../../..{outside}"])
async def test_a_link_leads_to_a_place_of_the_container(
    open_a_session: OpenSession, root: Path, tmp_path: Path, target: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("link", "a"):
        (root / "scratch" / name).symlink_to(target.format(outside=outside))
    async with open_a_session() as session:
        made = '{ export(path: "link") here: export(path: ".") '
        made += 'file(path: "a/b.txt") { export(path: "link/c") } } }'
        await export(session, root, FILE + made)
    assert list(outside.iterdir()) == []
    assert (root / outside.relative_to("/") / "c").read_text() == "text"


async def test_a_file_does_not_take_the_place_of_a_directory(
    open_a_session: OpenSession, root: Path
) -> None:
    (root / "scratch" / "d").mkdir()
    async with open_a_session() as session:
        query = FILE + '{ file(path: "a/b.txt") { export(path: "d") } } }'
        with pytest.raises(LayerlineError, match="is a directory"):
            await export(session, root, query)
        within = query.replace('path: "d"', 'path: "d", allowParentDirPath: true')
        assert json.dumps(await export(session, root, within)).count("/scratch/d/b.txt") == 1
