"""Bit rot in results of real steps: found, repaired, made again with the same digest."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

BASE = ("core", "container", "from", "--address=debian:bookworm-slim")
CHAIN = (
    *("with-exec", "--args=sh,-c,seq 20000 > /a"),
    *("with-exec", "--args=sh,-c,sort -r /a > /b"),
    *("with-exec", "--args=sh,-c,head -n 5 /b > /c"),
)
CLAMPED = {"SOURCE_DATE_EPOCH": "1"}
OTHER = ("with-exec", "--args=sh,-c,seq 300 > /other")


def flip(path: Path) -> None:
    """Change one bit, and leave the size and times as they are."""
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def steps(stderr: bytes) -> dict[str, bool]:
    """Whether each exec of a call was cached."""
    found = re.findall(r"withExec (.*?) (CACHED|DONE) \[", stderr.decode())
    return {name: state == "CACHED" for name, state in found}


def test_damage_in_the_middle_of_a_chain(command_line: CommandLine) -> None:
    # The files that an exec makes have the time of the run, unless it is clamped.
    command_line = replace(command_line, environ={**command_line.environ, **CLAMPED})
    image = command_line.workdir / "image.tar"
    export = (*BASE, *CHAIN, "export", f"--path={image}")
    command_line.run(*export)
    command_line.run(*BASE, *OTHER, "sync")
    first = image.read_bytes()
    store = Path(command_line.environ["LAYERLINE_STORE"])
    done = command_line.run("store", "check", "--deep")
    assert done.stdout == b"no problems found\n"

    [damaged] = (store / "snapshots").glob("*/fs/a")
    flip(damaged)
    done = command_line.run("store", "check", "--deep", "--json", expect=(1,))
    [problem] = json.loads(done.stdout)["problems"]
    assert problem["name"] == damaged.parent.parent.name
    assert problem["what"] == "does not match its manifest: a: content changed"

    done = command_line.run("store", "check", "--deep", "--repair", "--json")
    assert len(json.loads(done.stdout)["based_on_them"]) == 2
    assert command_line.run("store", "check", "--deep").stdout == b"no problems found\n"
    assert list(steps(command_line.run(*BASE, *OTHER, "sync").stderr).values()) == [True]

    image.unlink()
    ran = steps(command_line.run(*export).stderr)
    assert list(ran.values()) == [False, False, False]
    assert image.read_bytes() == first
