"""The programs beside this file, run as their users run them: `layerline run -- python …`."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import CommandLine

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HERE = Path(__file__).parent
TOKEN = "tok-51f0c7a2e9"
GZIP = b"\x1f\x8b"


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all programs."""
    return tmp_path_factory.mktemp("programs")


def run(command_line: CommandLine, store: Path, name: str, *arguments: str) -> str:
    environ = {
        **command_line.environ,
        "LAYERLINE_STORE": str(store / "store"),
        "BUILD_TOKEN": TOKEN,
    }
    python = command_line.words[0]
    done = command.run(
        [*command_line.words, "run", "--", python, HERE / f"{name}.py", *arguments],
        env=environ,
        cwd=command_line.workdir,
    )
    assert TOKEN.encode() not in done.stdout + done.stderr
    return done.stdout.decode()


def test_a_matrix_of_python_versions(command_line: CommandLine, shared_store: Path) -> None:
    lines = run(command_line, shared_store, "matrix").splitlines()
    assert [line.split(".")[:2] for line in lines] == [
        ["3", "9 Python 3"],
        ["3", "11 Python 3"],
        ["3", "13 Python 3"],
    ]
    assert all(line.endswith(": OK") for line in lines)


def test_a_database_for_a_test(command_line: CommandLine, shared_store: Path) -> None:
    assert run(command_line, shared_store, "database") == "best: second\n"


def test_a_build_of_stages_and_a_registry(
    command_line: CommandLine, shared_store: Path, bases: str
) -> None:
    reference, *rest = run(command_line, shared_store, "multistage", bases).splitlines()
    assert reference.startswith(f"{bases}/programs/hello:1@sha256:")
    assert rest == ["hello", "built, shipped and pulled back", "compiler: False"]


def test_a_secret_is_nowhere_in_the_result(command_line: CommandLine, shared_store: Path) -> None:
    target = command_line.workdir / "image.tar"
    lines = run(command_line, shared_store, "secret", str(target)).splitlines()
    fingerprint = hashlib.sha256(TOKEN.encode()).hexdigest()[:12]
    assert lines == ["logging in with ***", f"session: {fingerprint}"]
    contents = list(every_byte(target))
    assert any(fingerprint.encode() in data for data in contents)
    assert not any(TOKEN.encode() in data for data in contents)


def every_byte(archive: Path) -> Iterator[bytes]:
    """The archive as it is, and each blob of it unpacked."""
    yield archive.read_bytes()
    with tarfile.open(archive) as members:
        for member in members:
            stream = members.extractfile(member)
            data = stream.read() if stream is not None else b""
            yield gzip.decompress(data) if data.startswith(GZIP) else data


def test_changes_are_brought_to_the_host(command_line: CommandLine, shared_store: Path) -> None:
    place = command_line.workdir / "texts"
    place.mkdir()
    (place / "a.txt").write_text("one  \ntwo\t\n")
    (place / "clean.txt").write_text("three\n")
    (place / "a.txt.orig").write_text("old")
    lines = run(command_line, shared_store, "changes", str(place)).splitlines()
    assert lines == ["added: ['CONTENTS']", "modified: ['a.txt']", "removed: ['a.txt.orig']"]
    assert sorted(path.name for path in place.iterdir()) == ["CONTENTS", "a.txt", "clean.txt"]
    assert (place / "a.txt").read_text() == "one\ntwo\n"
    assert (place / "CONTENTS").read_text() == "a.txt\nclean.txt\n"
