"""Dagger shell: the calls that were recorded, and what else scripts do."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.cli.replay import Replay, make_replay, recorded_blocks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.transcript import Recorded
    from tests.cli.warm import WarmProgram

pytestmark = [pytest.mark.privileged, pytest.mark.network]


@pytest.fixture(scope="module")
def deps(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str], warm: WarmProgram
) -> Replay:
    return make_replay(tmp_path_factory.mktemp("shell"), "deps", environ, warm)


@pytest.mark.parametrize(("name", "call"), recorded_blocks("shell"))
def test_the_recorded_answer(deps: Replay, name: str, call: Recorded) -> None:
    assert name == "shell"
    deps.play(call)


def run(deps: Replay, *argv: str, stdin: str = "") -> tuple[str, int, str]:
    """What a call prints, its status, and the first line of its error."""
    done = deps.place.call(*argv, stdin=stdin.encode())
    errors = [line for line in done.stderr.decode().splitlines() if line.startswith("Error: ")]
    return done.stdout.decode(), done.status, next(iter(errors), "")


SCRIPT = """\
#!/usr/bin/env layerline
# Modules by path and by name, their objects in variables, and other directories.
. | hello --text=q
.echo
w=$(base --prefix=p- | word --text=hey)
$w
$w | text
.echo
name-of $(./lib/shouter)
.echo
.cd lib/shouter
shout x
.echo
.cd
.pwd
"""


def test_a_script_as_a_file_and_on_standard_input(deps: Replay) -> None:
    path = deps.place.workdir / "script.dsh"
    path.write_text(SCRIPT)
    as_file = run(deps, "-s", "script.dsh")
    assert run(deps, "-s", stdin=SCRIPT) == as_file
    printed, status, error = as_file
    # The type has the name that the dependency has in dagger.json, `base`.
    lines = [re.sub(r"@xxh3:[0-9a-f]{16}$", "@", line) for line in printed.splitlines()]
    wanted = ["QQ!", "BaseWord@", "p-hey", "shouter-1", "X!", str(deps.place.workdir)]
    assert (lines, status, error) == (wanted, 0, "")
    path.unlink()


def test_a_failed_exec_gives_its_own_status(deps: Replay) -> None:
    printed, status, error = run(deps, "-s", "-c", "fail | stdout; .echo no")
    assert (printed, status, error) == ("", 7, "Error: exit code: 7")


def test_a_constructor_wants_its_arguments(deps: Replay, tmp_path: Path) -> None:
    module = tmp_path / "wants"
    shutil.copytree(deps.place.workdir / "base", module)
    code = module / "src" / "text_base" / "__init__.py"
    code.write_text(
        code.read_text().replace('prefix: str = field(default="")', "prefix: str = field()")
    )
    place = replace(deps, place=replace(deps.place, workdir=module))
    assert run(place, "-s", "-c", "word | text") == (
        *("", 1, 'Error: missing required argument: "prefix"'),
    )
    assert run(place, "-s", "-c", ". a- | word --text=b | text") == ("a-b", 0, "")
    assert run(place, "-s", "-c", ".") == (
        *("", 1, 'Error: "text-base" constructor: requires 1 positional argument(s), received 0'),
    )


def test_documentation_of_a_module(deps: Replay) -> None:
    printed, *_ = run(
        deps, "-s", "-c", ".help; .help base; base | .help word; .types; word | .help"
    )
    for line in ("  hello             A word through both modules.", "  base      Words, and what"):
        assert line in printed
    for line in ("USAGE\n  base [options]", "--prefix string", "Base - Makes words.", "APP TYPES"):
        assert line in printed
    assert printed.endswith("SCALAR\n  string\n\n")
