"""The host: what exports make and keep, what imports leave out, when they are read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from tests.parity.conftest import Asked, directory

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


def test_all_parents_that_an_export_makes_are_the_callers_alone(asked: Asked) -> None:
    """engine/client/filesync.go makes them with mode 0700."""
    assert asked.answer(exporting("p/q/f", 0o644)) == str(asked.workdir / "p/q/f")
    asked.answer(directory('withNewFile(path: "a", contents: "") { export(path: "r/s") }'))
    for name in ("p", "p/q", "r", "r/s"):
        assert mode(asked.workdir / name) == 0o700


def test_a_file_that_is_exported_over_another_leaves_its_mode(asked: Asked) -> None:
    """engine/client/filesync.go truncates what is there."""
    place = asked.workdir / "over"
    asked.answer(exporting("over", 0o755))
    asked.answer(exporting("over", 0o600, "new"))
    assert (mode(place), place.read_text()) == (0o755, "new")


def test_wipe_leaves_what_is_exported(asked: Asked) -> None:
    """The protocol's section 5.10: entries that the source lacks are removed."""
    (asked.workdir / "w/old/deep").mkdir(parents=True)
    (asked.workdir / "w/file").touch()
    query = directory('withNewFile(path: "n/a", contents: "") { export(path: "w", wipe: true) }')
    asked.answer(query)
    found = sorted(str(p.relative_to(asked.workdir / "w")) for p in asked.workdir.glob("w/**/*"))
    assert found == ["n", "n/a"]


def test_patterns_and_ignore_files_work_together(asked: Asked) -> None:
    """The protocol's section 5.9; patterns that lead out are not used."""
    tree = asked.workdir / "t"
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

    def listed(arguments: str) -> object:
        query = f'directory(path: "t", {arguments}) {{ glob(pattern: "**") }}'
        return asked.answer(f"{{ host {{ {query} }} }}")

    logs = listed('gitignore: true, include: ["**/*.log"]')
    assert logs == ["keep.log", "sub/", "sub/y.log"]
    rest = listed('exclude: ["/a.txt", "../t", "sub", ".*"]')
    assert rest == ["a.txt", "keep.log", "x.log"]


def test_a_directory_is_read_once_for_the_same_arguments(asked: Asked) -> None:
    """The protocol's section 5.13: per client, and per call with noCache."""
    (asked.workdir / "once").mkdir()
    (asked.workdir / "once/f").write_text("1")

    def read(more: str = "") -> object:
        of = f'directory(path: "once"{more}) {{ file(path: "f") {{ contents }} }}'
        return asked.answer(f"{{ host {{ {of} }} }}")

    assert read() == "1"
    (asked.workdir / "once/f").write_text("2")
    assert [read(), read(", noCache: true"), read(', exclude: ["z"]')] == ["1", "2", "2"]
