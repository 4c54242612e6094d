"""Edits stay inside their block, are atomic, and are undone byte for byte."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from layerline import command
from layerline.doctor.edits import Edit, with_block, without_block, write
from layerline.errors import EditRefused

LINES = ["# data", "data", "**/*.pt"]
PIECES = [
    *(
        b"data\n",
        b"data\r\n",
        b"# comment\n",
        b"\t!keep \n",
        b"\n",
        b"\r\n",
        b"\xff\xfe\n",
        b"dup\ndup\n",
    ),
    *(b"no newline", b"\xe9t\xe9\n", b"# >>> other tool >>>\n", b"\x0b\x0c\x85\n"),
]


def apply_block(path: Path) -> bytes:
    write(with_block(path, LINES), path.parent)
    return path.read_bytes()


def remove_block(path: Path) -> None:
    write(without_block(path), path.parent)


def contents(seed: int) -> bytes | None:
    """Any bytes that an ignore file may have: line ends, marks, encodings; None for no file."""
    chance = random.Random(seed)
    if seed % 10 == 0:
        return None
    start = b"\xef\xbb\xbf" if chance.random() < 0.2 else b""
    return start + b"".join(chance.choices(PIECES, k=chance.randrange(0, 8)))


@pytest.mark.parametrize("seed", range(100))
def test_fix_and_undo_give_the_same_bytes_and_fix_twice_the_same_file(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / ".dockerignore"
    before = contents(seed)
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o640)
    once = apply_block(path)
    assert not with_block(path, LINES).changes
    begin, end = once.index(b"# >>> layerline"), once.index(b"# <<< layerline doctor <<<")
    end = once.index(b"\n", end) + 1
    assert once[:begin] + once[end:] == (before or b"")
    if before is not None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    remove_block(path)
    assert (path.read_bytes() if path.exists() else None) == before
    assert [each.name for each in tmp_path.iterdir()] == ([] if before is None else [path.name])


def test_what_the_user_wrote_below_has_the_last_word_and_survives_undoing(tmp_path: Path) -> None:
    path = tmp_path / ".dockerignore"
    apply_block(path)
    path.write_bytes(path.read_bytes() + b"!data/labels.csv\n")
    apply_block(path)
    remove_block(path)
    assert path.read_bytes() == b"!data/labels.csv\n"


def test_a_change_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / ".dockerignore"
    path.write_text("old\n")
    edit = with_block(path, LINES)
    path.write_text("the user's\n")
    with pytest.raises(EditRefused, match="meanwhile"):
        write(edit, tmp_path)
    assert path.read_text() == "the user's\n"


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / ".dockerignore"
    edit = with_block(path, LINES)
    path.write_text("the user's\n")
    with pytest.raises(EditRefused):
        write(edit, tmp_path)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["the user's\n"]


def test_a_link_inside_the_project_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared.ignore").write_text("x\n")
    path = tmp_path / ".dockerignore"
    path.symlink_to("shared.ignore")
    apply_block(path)
    assert path.is_symlink()
    assert b"**/*.pt" in (tmp_path / "shared.ignore").read_bytes()


@pytest.mark.parametrize("kind", ["outside", "dangling", "loop", "directory", "fifo", "read-only"])
def test_what_is_no_plain_file_of_the_project_is_refused(tmp_path: Path, kind: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    path = project / ".dockerignore"
    outside = tmp_path / "outside"
    outside.write_text("mine\n")
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "read-only":
        path.write_text("x\n")
        path.chmod(0o444)
    else:
        path.symlink_to({"outside": str(outside), "dangling": "gone", "loop": path.name}[kind])
    with pytest.raises(EditRefused):
        apply_block(path)
    assert outside.read_text() == "mine\n"
    assert [each.name for each in project.iterdir()] == [path.name]


@pytest.mark.usefixtures("root")
def test_another_users_file_is_refused_and_root_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / ".dockerignore"
    path.write_text("x\n")
    os.chown(path, 1234, 4321)
    apply_block(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_half_a_block_is_the_users_to_mend(tmp_path: Path) -> None:
    path = tmp_path / ".dockerignore"
    text = apply_block(path).replace(b"# <<< layerline doctor <<<\n", b"")
    path.write_bytes(text)
    with pytest.raises(EditRefused, match="by hand"):
        without_block(path)
    assert path.read_bytes() == text


@pytest.mark.parametrize("name", ["write", "fsync", "rename,renameat,renameat2"])
@pytest.mark.parametrize("fault", ["error=ENOSPC", "error=EIO", "signal=KILL"])
def test_a_fault_leaves_the_old_file_or_the_new_one(tmp_path: Path, name: str, fault: str) -> None:
    strace = command.find("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    project = tmp_path / "project"
    project.mkdir()
    (project / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    path = project / ".dockerignore"
    path.write_bytes(b"old\n")
    new = b""
    for when in range(1, 4):
        argv: list[str | Path] = [strace, "-f", "-o", "/dev/null", "-P", str(project)]
        argv += ["-e", f"inject={name}:{fault}:when={when}"]
        source = Path(__file__).parents[3] / "src"
        doctor = "python3 -m layerline.doctor --check ignore-file --fix ignore-file"
        env = {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
        command.run([*argv, *doctor.split()], env=env, cwd=project, expect=None)
        data = path.read_bytes()
        new = data if data != b"old\n" else new
        assert data in (b"old\n", new)
        assert data.endswith(b"old\n")
        remove_block(path)
        assert path.read_bytes() == b"old\n"


def test_a_diff_shows_the_change(tmp_path: Path) -> None:
    edit = Edit(tmp_path / "x", b"a\n", b"a\nb\n")
    assert edit.diff().splitlines()[-1] == "+b"
