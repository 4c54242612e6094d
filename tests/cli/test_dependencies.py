"""Modules that depend on modules, called as they were when the Dagger CLI was recorded."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import git_server
from tests.cli.conftest import Place
from tests.cli.transcript import (
    Classes,
    Recorded,
    ends_without_newline,
    error_lines,
    parse_transcript,
    without_trace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HERE = Path(__file__).parent
_ID = re.compile(r"(?<=parameter id=')[^']+")


@dataclass(slots=True)
class Replay:
    """A committed module in a home, and both sides' names for digests."""

    home: Path
    place: Place
    ours: Classes = field(default_factory=Classes)
    theirs: Classes = field(default_factory=Classes)


def make_replay(home: Path, name: str, environ: dict[str, str]) -> Replay:
    """A copy of a recorded module, committed in a repository of its own."""
    module = home / name
    shutil.copytree(HERE / name, module, ignore=shutil.ignore_patterns("__pycache__"))
    git_server.commit(module)
    own = {**environ, "TOK": "s3cr3tvalue"}
    return Replay(home=home, place=Place(workdir=module, environ=own))


@dataclass(slots=True)
class Served:
    """The module that uses one of a repository; `at` is the server that was on port 80."""

    replay: Replay
    at: str
    pin: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("git")
    repository = home / "served" / "dep.git"
    shutil.copytree(HERE / "git_served", repository, ignore=shutil.ignore_patterns("sub"))
    pin = git_server.commit(repository, "v1.0.0")
    shutil.copytree(HERE / "git_served" / "sub", repository / "sub")
    shutil.copytree(HERE / "git_served" / "src", repository / "sub" / "src")  # the same code
    git_server.commit(repository, "sub/v1.1.0")
    with git_server.serve(home / "served") as at:
        yield Served(replay=make_replay(home, "git_user", environ), at=at, pin=pin)


def recorded(name: str, *commands: str) -> list[object]:
    """The recorded calls of some commands, of all without any."""
    return [
        pytest.param(call, id=f"{call.number}-{call.line}")
        for call in parse_transcript(HERE / f"{name}.transcript.txt")
        if not commands or call.line.startswith(commands)
    ]


# What `install` wrote is in the recording: the dependency with its commit.
_INSTALLED = 6


@pytest.mark.parametrize("call", recorded("git", "call", "functions", "core"))
def test_the_recorded_answer_of_a_module_from_git(served: Served, call: Recorded) -> None:
    if call.number > _INSTALLED:
        path = served.replay.place.workdir / "dagger.json"
        source = f"http://{served.at}/dep.git@v1.0.0"
        dependency = {"name": "text-base", "source": source, "pin": served.pin}
        document = {**json.loads(path.read_text()), "dependencies": [dependency]}
        path.write_text(json.dumps(document))
    compare(
        served.replay, call, call.line.replace("127.0.0.1", served.at), {served.at: "127.0.0.1"}
    )


TOOLCHAIN = {"toolchains": [{"name": "text-base", "source": "base"}]}
BLUEPRINT = {"name": "text-base", "source": "../base"}


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Replay:
    """The module after `init --blueprint` and `toolchain install`: what they wrote is recorded."""
    replay = make_replay(tmp_path_factory.mktemp("managed"), "deps", environ)
    module = replay.place.workdir
    path = module / "dagger.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **TOOLCHAIN}))
    (module / "blue").mkdir()
    blue = {"name": "blue", "engineVersion": "v0.21.8", "blueprint": BLUEPRINT}
    (module / "blue" / "dagger.json").write_text(json.dumps(blue))
    return replay


@pytest.mark.parametrize(
    "call", recorded("manage", "call -s -m blue", "functions", "call -s text-base")
)
def test_the_recorded_answer_of_a_blueprint_or_toolchain(managed: Replay, call: Recorded) -> None:
    compare(managed, call, call.line)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Place:
    """Modules three deep, with interfaces, enums and objects that pass from one to another."""
    return make_replay(tmp_path_factory.mktemp("modules"), "farm", environ).place


def test_objects_pass_between_modules_as_interfaces(farm: Place) -> None:
    assert farm.text("-m", "farm", "go").split(" | ") == [
        *("hello donald! donald's friend?", "hello donald! donald's friend?"),
        *("donald.", "donald's friend.", "donald=", "not at all 2 ['a']", "VERY 1 None"),
    ]


def test_a_chain_goes_on_through_an_interface(farm: Place) -> None:
    assert farm.text("-m", "farm", "animal", "name", "--suffix=!") == "dagobert!"
    chain = ("animals", "friend", "name", "--suffix=!")
    assert farm.text("-m", "farm", *chain) == "a's friend!\nb's friend!\n"


def test_an_object_of_a_dependency_is_kept_in_a_state(farm: Place) -> None:
    for _ in range(2):  # the second time from the store
        assert farm.text("-m", "duck", "keep", "told") == "VERY 1 None"


def test_an_optional_object_may_be_missing(farm: Place) -> None:
    assert farm.text("-m", "deep", "maybe", "--give=true", "text") == "given"
    assert farm.text("-m", "deep", "maybe", "--give=false", "text") == ""


def test_a_type_of_a_dependency_is_not_offered(farm: Place, tmp_path: Path) -> None:
    shutil.copytree(farm.workdir, tmp_path / "farm")
    place = replace(farm, workdir=tmp_path / "farm")
    code = place.workdir / "duck" / "src" / "duck" / "__init__.py"
    with code.open("a") as file:
        file.write("    @function\n    def heard(self) -> dagger.DeepSound: ...\n")
    wanted = (
        'object "Duck" function "heard" cannot return external type from dependency module "deep"'
    )
    assert wanted in place.error("-m", "duck", "quack")


def compare(
    replay: Replay, call: Recorded, line: str, names: Mapping[str, str] | None = None
) -> None:
    """Make a call and compare its answer; `names` are ours for what the recording has."""
    place = replace(replay.place, workdir=replay.place.workdir / call.workdir)
    done = place.call(*shlex.split(line), stdin=call.stdin.encode() or None)
    printed = done.stdout.decode().replace(str(replay.home), "/home/user")
    stdout = replay.ours.apply(printed)
    wanted = replay.theirs.apply(without_trace(ends_without_newline(call.stdout)))
    assert (stdout, done.status) == (wanted, call.code), done.stderr.decode()
    errors = done.stderr.decode().replace(str(replay.home), "/home/user")
    for ours, theirs in (names or {}).items():
        errors = errors.replace(ours, theirs)
    assert _comparable(error_lines(tuple(errors.splitlines()))) == _comparable(call.errors)


def _comparable(errors: tuple[str, ...]) -> list[str]:
    """The error, and what an exec wrote; ids are each engine's own, hints are ours."""
    end = next((n for n, x in enumerate(errors) if x.startswith(("Failed step", "Full log"))), None)
    return [_ID.sub("ID", line) for line in errors[:end]]
