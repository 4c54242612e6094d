"""The programs beside this file, run as their users run them: `layerline run -- python …`."""

from __future__ import annotations

import gzip
import hashlib
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.capabilities import SOURCE, USERS
from tests.conftest import CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HERE = Path(__file__).parent
TOKEN = "tok-51f0c7a2e9"
GZIP = b"\x1f\x8b"


@pytest.fixture(scope="module", params=USERS)
def shared(request: pytest.FixtureRequest, bases: str) -> Iterator[CommandLine]:
    """Root and an ordinary user, each with one store for all programs."""
    if request.param == "ordinary user":
        yield request.getfixturevalue("user_command_line")
        return
    home = request.getfixturevalue("tmp_path_factory").mktemp("programs")
    own = {
        "LAYERLINE_STORE": str(home / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
        "PYTHONPATH": str(SOURCE),
    }
    yield CommandLine(environ={**process_environ(), **own}, workdir=home)


def run(shared: CommandLine, name: str, *arguments: str) -> str:
    program = (sys.executable, HERE / f"{name}.py")
    done = command.run(
        [*shared.words, "run", "--", *program, *arguments],
        env={**shared.environ, "BUILD_TOKEN": TOKEN},
        cwd=shared.workdir,
    )
    assert TOKEN.encode() not in done.stdout + done.stderr
    return done.stdout.decode()


def test_a_matrix_of_python_versions(shared: CommandLine) -> None:
    lines = run(shared, "matrix").splitlines()
    assert [line.split(".")[:2] for line in lines] == [
        ["3", "9 Python 3"],
        ["3", "11 Python 3"],
        ["3", "13 Python 3"],
    ]
    assert all(line.endswith(": OK") for line in lines)


def test_a_database_for_a_test(shared: CommandLine) -> None:
    assert run(shared, "database") == "best: second\n"


def test_a_build_of_stages_and_a_registry(shared: CommandLine, bases: str) -> None:
    reference, *rest = run(shared, "multistage", bases).splitlines()
    assert reference.startswith(f"{bases}/programs/hello:1@sha256:")
    assert rest == ["hello", "built, shipped and pulled back", "compiler: False"]


def test_a_secret_is_nowhere_in_the_result(shared: CommandLine) -> None:
    target = shared.workdir / "image.tar"
    lines = run(shared, "secret", str(target)).splitlines()
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


def test_changes_are_brought_to_the_host(shared: CommandLine) -> None:
    place = shared.workdir / "texts"
    place.mkdir()
    (place / "a.txt").write_text("one  \ntwo\t\n")
    (place / "clean.txt").write_text("three\n")
    (place / "a.txt.orig").write_text("old")
    if shared.user:
        shared.user.give(place)
    lines = run(shared, "changes", str(place)).splitlines()
    assert lines == ["added: ['CONTENTS']", "modified: ['a.txt']", "removed: ['a.txt.orig']"]
    assert sorted(path.name for path in place.iterdir()) == ["CONTENTS", "a.txt", "clean.txt"]
    assert (place / "a.txt").read_text() == "one\ntwo\n"
    assert (place / "CONTENTS").read_text() == "a.txt\nclean.txt\n"
