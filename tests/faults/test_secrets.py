"""Where a secret must not be: in the index, in any form, and in what a killed session leaves.

What the API answers for a program's output holds other forms than the value as it stands, as the
Dagger engine's does (tests/conformance/secret.json): it is kept in a blob.
"""

from __future__ import annotations

import base64
import functools
import signal
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.concurrency.test_endings import end, running, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

SECRET = "first line/of+it\nsecond line: 7e1fc0ffee"
BASE = ("core", "--progress=plain", "container", "from", "--address=debian:bookworm-slim")
GIVEN = ("with-secret-variable", "--name=S", "--secret=env://GIVEN")


def forms() -> dict[str, bytes]:
    value = SECRET.encode()
    found = {
        "value": value,
        "line": SECRET.splitlines()[1].encode(),
        "base64": base64.b64encode(value),
        "hex": value.hex().encode(),
        "url": quote(SECRET, safe="").encode(),
    }
    # The second and third alignment, without the characters that what is before has a part in.
    for shift in (1, 2):
        found[f"base64+{shift}"] = base64.b64encode(b"x" * shift + value)[4:-4]
    return found


def shell(*script: str) -> str:
    """A flag that runs a script; lists are CSV."""
    fields = ",".join(f'"{field.replace(chr(34), chr(34) * 2)}"' for field in script)
    return f"--args=sh,-c,{fields}"


def given(command_line: CommandLine) -> CommandLine:
    return replace(command_line, environ={**command_line.environ, "GIVEN": SECRET})


def holders(place: Path, pattern: bytes) -> list[str]:
    """The files that hold a text."""
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path.relative_to(place)) for path in files if pattern in path.read_bytes()]


def test_no_form_of_a_secret_is_in_the_index(command_line: CommandLine, tmp_path: Path) -> None:
    encode = """
        printf %s "$S" | tail -n 1; echo
        for before in '' x xx; do printf %s "$before$S" | base64 -w0; echo; done
        printf %s "$S" | od -An -v -tx1 | tr -d ' \\n'; echo
        printf %s "$S" | sed 's,/,%2F,g; s,+,%2B,g; s, ,%20,g; s,:,%3A,g' | paste -sd@ |
            sed 's,@,%0A,'
        """
    line = given(command_line)
    argv = (*BASE, *GIVEN, "with-exec", shell(encode))
    answer = line.run(*argv, "combined-output").stdout
    for name, form in forms().items():
        assert (form in answer) == (name != "value"), name
    store = tmp_path / "store"
    kept = [*store.glob("index.db*"), *(store / "logs").iterdir()]
    for name, form in forms().items():
        assert [path.name for path in kept if form in path.read_bytes()] == [], name
    assert line.run(*argv, "combined-output").stdout == answer


def test_what_a_killed_step_had_of_a_secret_goes_with_the_next_start(
    command_line: CommandLine, tmp_path: Path
) -> None:
    line, store, mark = given(command_line), tmp_path / "store", uuid.uuid4().hex
    line.run(*BASE, "sync")
    script = shell('echo "$S" > /kept; sleep 600', mark)
    process = line.start(*BASE, *GIVEN, "with-exec", script, "sync")
    try:
        until(functools.partial(running, mark), 60)
        needle = SECRET.splitlines()[1].encode()
        until(lambda: holders(store / "scratch", needle), 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not running(mark), 10)
        assert holders(store / "scratch", needle)
        line.run("query", stdin=b"{ container { id } }")
        assert holders(store, needle) == []
    finally:
        end(process)
