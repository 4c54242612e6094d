"""Calls as users make them, of what the recordings do not hold."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline import command
from layerline.engine.module.indexes import installer_environ
from layerline.settings import Settings

if TYPE_CHECKING:
    from tests.cli.conftest import Place

pytestmark = [pytest.mark.privileged, pytest.mark.network]


def test_the_users_defaults(extras: Place) -> None:
    assert extras.error("greet") == 'Error: required flag(s) "name" not set'
    (extras.workdir / ".env").write_text("GREETING=hello\nGREET_NAME=all\nBOX_SHOW_UNIT=m\n")
    assert extras.text("greet") == "hello all"
    assert extras.text("--greeting=bye", "greet", "--name=bob") == "bye bob"
    assert extras.text("box", "show") == "3 m"


def test_a_module_sees_its_repository(extras: Place) -> None:
    commit = command.run(["git", "rev-parse", "HEAD"], cwd=extras.workdir).stdout.decode().strip()
    assert extras.text("commit") == commit
    assert extras.text("ref") == commit
    assert extras.text("commit", f"--repository=file://{extras.workdir}") == commit


def test_an_image_by_default(extras: Place) -> None:
    assert "Debian GNU/Linux 12" in extras.text("base")


def test_changes_are_applied_when_the_user_says_so(extras: Place) -> None:
    assert "cannot be confirmed without a terminal" in extras.error("add-and-remove")
    assert (extras.workdir / "old.txt").exists()
    done = extras.call("call", "-s", "-y", "add-and-remove")
    assert (done.status, done.stdout) == (0, b""), done.stderr
    assert "added    made/new.txt" in done.stderr.decode()
    assert (extras.workdir / "made" / "new.txt").read_text() == "new"
    assert not (extras.workdir / "old.txt").exists()


def test_objects_by_their_addresses(extras: Place) -> None:
    place = extras.workdir
    (place / "data").mkdir()
    (place / "data" / "a").write_text("one")
    (place / "b").write_text("two")
    shown = extras.text("list-contents", "--directory=data", f"--file=file://{place}/b")
    assert shown == "a\ntwo\n"
    words = ("call", "-s", "list-contents", "--directory=~/data", "--file=./data/a")
    assert extras.call(*words, HOME=str(place)).stdout == b"a\none\n"
    shown = extras.text("several", "--files=b,data/a", "--platform=linux/arm64")
    assert shown == "linux/arm64\ntwo\none\n"
    image = "--base=debian:bookworm-slim"
    assert extras.text("volume", "--cache=mine", image) == "/c\n"


@pytest.mark.parametrize(
    ("words", "stdout"),
    [
        (["-j", "numbers"], "[\n    1,\n    2,\n    3000000\n]\n"),
        (["numbers"], "1\n2\n3e+06\n"),
        (["--json", "greet", "--name=ä<"], '"hi ä<"\n'),
        (["--json", "box", "size"], "3\n"),
    ],
)
def test_forms_of_results(extras: Place, words: list[str], stdout: str) -> None:
    assert extras.text(*words) == stdout
    assert extras.text(*words, "-o", "deep/result") == stdout
    assert (extras.workdir / "deep" / "result").read_text() == stdout


def test_a_directory_is_saved_where_output_says(extras: Place) -> None:
    words = ("core", "-s", "directory", "with-new-file", "--path=a/b", "--contents=x")
    done = extras.call(*words, "-o", "out")
    assert done.status == 0, done.stderr
    assert (extras.workdir / "out" / "a" / "b").read_text() == "x"


LOCKED = """\
dagger-io==0.0.0
iniconfig==2.0.0
"""
BUILT = '[tool.hatch.build.targets.wheel]\npackages = ["code/extras"]\n'


def test_a_locked_module_gets_the_locks_versions(extras: Place) -> None:
    assert extras.text("package-version", "--package=iniconfig") == "none"
    (extras.workdir / "requirements.lock").write_text(LOCKED)
    assert extras.text("package-version", "--package=iniconfig") == "2.0.0"


def test_a_module_locked_by_uv_gets_the_locks_versions(extras: Place) -> None:
    path = extras.workdir / "pyproject.toml"
    own = '["dagger-io", "iniconfig<2.1"]'
    path.write_text(path.read_text().replace('["dagger-io"]', own))
    environ = installer_environ(Settings.from_environ(extras.environ))
    uv = Path(sys.executable).with_name("uv")
    command.run([uv, "lock", "--python", sys.executable], env=environ, cwd=extras.workdir)
    path.write_text(path.read_text().replace(own, '["dagger-io", "iniconfig"]'))
    assert extras.text("package-version", "--package=iniconfig") == "2.0.0"


def test_a_module_whose_code_lies_elsewhere_is_found_with_its_metadata(extras: Place) -> None:
    (extras.workdir / "src").rename(extras.workdir / "code")
    with (extras.workdir / "pyproject.toml").open("a") as file:
        file.write(BUILT)
    assert extras.text("package-version", "--package=extras") == "0.1.0"


def test_a_function_exports_into_its_own_directory(extras: Place) -> None:
    """Its host is its container, as for what it reads (conformance/next/nesting.json)."""
    assert extras.text("exported").split("\n") == [
        *("/scratch/out", "/scratch/c.txt", "/scratch/image.tar"),
        *("changed", "c.txt", "image.tar", "out"),
    ]


def test_services_are_up_until_they_are_interrupted(extras: Place) -> None:
    listed = extras.call("up", "-l")
    assert listed.stdout.decode().splitlines()[1:] == ["extras:web   A web server."]
    process = command.start(
        extras.argv("up", "web"), env=extras.environ, cwd=extras.workdir, stderr=command.PIPE
    )
    try:
        assert process.stderr is not None
        assert any(b"http://localhost:18471" in line for line in process.stderr)
        assert "Directory listing" in httpx.get("http://localhost:18471").text
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
