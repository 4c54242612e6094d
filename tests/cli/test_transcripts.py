"""Every call that was recorded of the Dagger CLI, made again with `layerline`.

Stdout, the exit code and the error are the same. What differs, and why, is listed in `_settled` and
nowhere else: it is what both answers are rid of before they are compared.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from tests.cli.conftest import Place
from tests.cli.transcript import (
    Classes,
    Recorded,
    ends_without_newline,
    error_lines,
    parse_transcript,
)
from tests.ordinary_user import ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.warm import WarmProgram

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HERE = Path(__file__).parent
MODULES = ("sample", "semantics", "layout")
QUICK = "layout"
# The recording shows the words without the shell's quotes.
WORDS = {
    "call -s ctr with-exec --args=sh,-c,echo hi stdout": [
        *("call", "-s", "ctr", "with-exec", "--args=sh,-c,echo hi", "stdout"),
    ],
    "call -s show-secret --token=cmd://echo abc": [
        *("call", "-s", "show-secret", "--token=cmd://echo abc"),
    ],
}
# Variables of Dagger's telemetry and of its build images: there are none here.
_NOT_SET = re.compile(
    r"^(BAGGAGE|TRACEPARENT|OTEL_\w+|DAGGER_BASE_IMAGE|DAGGER_UV_\w+)=.*\n", re.MULTILINE
)
# Dagger adds its client library to the module's source, and keeps the repository's .git there.
_ADDED = re.compile(r"'(\.git/|\.gitattributes|sdk/)',? ?")
_REST_OF_GIT = re.compile(r"^(\.git/.+|… \(the rest of \.git\))\n", re.MULTILINE)
# What Dagger's library for gRPC says before the reason, and what ours says after it.
_GRPC = re.compile(r"failed to get snapshot: .* desc = eval symlinks: ")
_WAY_OUT = re.compile(r"; --\S+ takes a (?:directory|file) of this machine$")


@dataclass(slots=True)
class Replay:
    """A module in a home, and both sides' names for digests and stamps."""

    home: Path
    place: Place
    ours: Classes = field(default_factory=Classes)
    theirs: Classes = field(default_factory=Classes)

    def call(self, recorded: Recorded) -> command.Finished:
        words = WORDS.get(recorded.line) or shlex.split(recorded.line)
        place = replace(self.place, workdir=self.place.workdir / recorded.workdir)
        return place.call(*(word.replace("/home/user", str(self.home)) for word in words))

    def text(self, data: bytes) -> str:
        return _one_name(data.decode().replace(str(self.home), "/home/user"))


@pytest.fixture(scope="module")
def roots(home: Path, environ: dict[str, str], warm: WarmProgram) -> dict[str, Replay]:
    """One replay for each module, of root."""
    return make_replays(Place(workdir=home, environ=environ, warm=warm))


@pytest.fixture(scope="module")
def users(container_user: None, environ: dict[str, str]) -> Iterator[dict[str, Replay]]:  # noqa: ARG001
    """One replay for each module, of an ordinary user in a home of its own."""
    with ordinary_user() as user:
        own = user.environ({**environ, "LAYERLINE_STORE": str(user.home / "store")})
        found = make_replays(Place(workdir=user.home, environ=own, user=user))
        user.give(user.home)
        yield found


def make_replays(at: Place) -> dict[str, Replay]:
    home = at.workdir
    found: dict[str, Replay] = {}
    for name in MODULES:
        module = home / name
        shutil.copytree(HERE / name, module)
        command.run(["git", "init", "--quiet", module])
        found[name] = Replay(home=home, place=replace(at, workdir=module))
    (home / "sample" / "ci" / "modules").mkdir()
    (home / "semantics" / "gitignore.txt").rename(home / "semantics" / ".gitignore")
    return found


def recorded_calls(user: str) -> Iterator[object]:
    """The calls of a user; of an ordinary one next to root those of one module, in most runs."""
    for name in MODULES:
        slow = user != "root" and os.geteuid() == 0 and name != QUICK
        for call in parse_transcript(HERE / f"{name}.transcript.txt"):
            yield pytest.param(
                *(name, call),
                id=f"{name}-{call.number}-{call.line}",
                marks=[pytest.mark.slow] if slow else [],
            )


# Two tests: pytest mixes the parameters of one, and a call needs what was done before it.
@pytest.mark.skipif(os.geteuid() != 0, reason="this is root's; the next test is an ordinary user's")
@pytest.mark.parametrize(("name", "call"), list(recorded_calls("root")))
def test_the_recorded_answer(roots: dict[str, Replay], name: str, call: Recorded) -> None:
    check(roots[name], name, call)


@pytest.mark.parametrize(("name", "call"), list(recorded_calls("an ordinary user")))
def test_the_recorded_answer_of_an_ordinary_user(
    users: dict[str, Replay], name: str, call: Recorded
) -> None:
    check(users[name], name, call)


def check(replay: Replay, name: str, call: Recorded) -> None:
    _change(replay.place.workdir, call.note)
    done = replay.call(call)
    errors = error_lines(tuple(replay.text(done.stderr).splitlines()))
    stdout = replay.ours.apply(_normalize(replay.text(done.stdout), name))
    wanted = replay.theirs.apply(_normalize(_one_name(ends_without_newline(call.stdout)), name))
    assert (stdout, done.status) == (wanted, call.code), done.stderr.decode()
    errors = tuple(_WAY_OUT.sub("", line) for line in errors)
    wanted_errors = tuple(_GRPC.sub("", line) for line in call.errors)
    assert errors[:1] == wanted_errors[:1]
    if "Stdout:" in call.errors or "Run '" in "".join(call.errors):
        assert errors[: len(wanted_errors)] == wanted_errors


def _one_name(text: str) -> str:
    """The text with one name for both tools."""
    return text.replace("layerline", "dagger")


def _change(module: Path, note: str) -> None:
    """Do what a remark of the transcript says was done before the call."""
    if "data/a.txt" in note:
        with (module / "data" / "a.txt").open("a") as file:
            file.write("changed\n")
    if "ci/main.py" in note:
        with (module / "ci" / "main.py").open("a") as file:
            file.write("# a comment\n")
    if "a strange repository with one file" in note:
        strange = module.parent / "strange"
        command.run(["git", "init", "--quiet", strange])
        (strange / "y").touch()


def _normalize(stdout: str, name: str) -> str:
    """The text without what is known to differ.

    The transcript of the semantics is not exact about its last newlines.
    """
    text = _NOT_SET.sub("", stdout)
    text = _REST_OF_GIT.sub("", _ADDED.sub("", text))
    text = re.sub(r"^exe=.*$", "exe=PYTHON", text, flags=re.MULTILINE)
    text = re.sub(r", \]$", "]", text, flags=re.MULTILINE)
    return text.rstrip("\n") if name == "semantics" else text
