"""The host: what exports make and keep, what imports leave out, when they are read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from tests.parity.conftest import ParitySession, directory

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.privileged


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def exporting(path: str, permissions: int, contents: str = "x") -> str:
    """A query: a file written to the host."""
    return directory(
        f'withNewFile(path: "a", contents: "{contents}", permissions: {permissions}) '
        f'{{ file(path: "a") {{ export(path: "{path}") }} }}'
    )


def test_all_parents_that_an_export_makes_are_the_callers_alone(session: ParitySession) -> None:
    """engine/client/filesync.go makes them with mode 0700."""
    assert session.answer(exporting("p/q/f", 0o644)) == str(session.workdir / "p/q/f")
    session.answer(directory('withNewFile(path: "a", contents: "") { export(path: "r/s") }'))
    for name in ("p", "p/q", "r", "r/s"):
        assert mode(session.workdir / name) == 0o700


def test_a_file_that_is_exported_over_another_leaves_its_mode(session: ParitySession) -> None:
    """engine/client/filesync.go truncates an existing file."""
    place = session.workdir / "over"
    session.answer(exporting("over", 0o755))
    session.answer(exporting("over", 0o600, "new"))
    assert (mode(place), place.read_text()) == (0o755, "new")


def test_wipe_leaves_what_is_exported(session: ParitySession) -> None:
    """The protocol's section 5.10: entries that the source lacks are removed."""
    (session.workdir / "w/old/deep").mkdir(parents=True)
    (session.workdir / "w/file").touch()
    query = directory('withNewFile(path: "n/a", contents: "") { export(path: "w", wipe: true) }')
    session.answer(query)
    found = sorted(
        str(p.relative_to(session.workdir / "w")) for p in session.workdir.glob("w/**/*")
    )
    assert found == ["n", "n/a"]


def test_patterns_and_ignore_files_work_together(session: ParitySession) -> None:
    """The protocol's section 5.9; patterns that lead out are not used."""
    tree = session.workdir / "t"
    for name, text in {
        ".gitignore": "*.log\n!keep.log\n",
        "x.log": "",
        "keep.log": "",
        "sub/.gitignore": "!y.log\n",
        "sub/y.log": "",
        "a.txt": "",
    }.items():
        (tree / name).parent.mkdir(exist_ok=True, parents=True)
        (tree / name).write_text(text)

    def glob(arguments: str) -> object:
        query = f'directory(path: "t", {arguments}) {{ glob(pattern: "**") }}'
        return session.answer(f"{{ host {{ {query} }} }}")

    logs = glob('gitignore: true, include: ["**/*.log"]')
    assert logs == ["keep.log", "sub/", "sub/y.log"]
    rest = glob('exclude: ["/a.txt", "../t", "sub", ".*"]')
    assert rest == ["a.txt", "keep.log", "x.log"]


def test_a_directory_is_read_once_for_the_same_arguments(session: ParitySession) -> None:
    """The protocol's section 5.13: per client, and per call with noCache."""
    (session.workdir / "once").mkdir()
    (session.workdir / "once/f").write_text("1")

    def contents(more: str = "") -> object:
        of = f'directory(path: "once"{more}) {{ file(path: "f") {{ contents }} }}'
        return session.answer(f"{{ host {{ {of} }} }}")

    assert contents() == "1"
    (session.workdir / "once/f").write_text("2")
    assert [contents(), contents(", noCache: true"), contents(', exclude: ["z"]')] == [
        "1",
        "2",
        "2",
    ]
