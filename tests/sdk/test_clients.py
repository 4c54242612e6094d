"""Programs with Dagger's SDKs, old and new, in our sessions.

The answers are what these SDKs get from the Dagger engine v0.21.8: directories end in `/` (views
since v0.17), secrets are masked in outputs, the outputs of an ExecError are trimmed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sdk.client_calls import page
from tests.sdk.conftest import PROGRAMS, python_sdk, typescript_sdk

if TYPE_CHECKING:
    from tests.sdk.conftest import Desk

pytestmark = [pytest.mark.privileged, pytest.mark.network]

HOME = Path(__file__).parents[2]
NEWEST_0_18 = "0.18.19"
NEWEST_1_0 = "1.0.0b21"
RUN = (
    "0.21.11",
    NEWEST_1_0,
    *(
        pytest.param(version, marks=pytest.mark.slow)
        for version in ("0.19.11", "0.20.8", "0.21.0", "1.0.0b11")
    ),
)
PROVISIONED = (
    NEWEST_0_18,
    *(
        pytest.param(version, marks=pytest.mark.slow)
        for version in ("0.18.0", "0.19.11", "0.20.8", "0.21.11", NEWEST_1_0)
    ),
)
TYPESCRIPT = (
    "0.21.9",
    *(pytest.param(v, marks=pytest.mark.slow) for v in ("0.18.19", "1.0.0-beta.14")),
)


def expected(desk: Desk) -> dict[str, object]:
    return {
        "stdout": "hello\n",
        "entries": ["a/", "c/"],
        "nested": ["d/a/b.txt"],
        "contents": "text",
        "size": 4,
        "made": "text",
        "secret": "***\n",
        "plaintext": "hush",
        "kept": "a\n",
        "exit code": 3,
        "synced": ["a/", "c/"],
        "variables": {"PATH": "/bin", "X": "1"},
        "exported": str(desk.project.home / "exported"),
        "platform": "linux/amd64",
        "version": "v0.21.8",
        "exec error": [7, "out", "why", 3],
        "query error": "/none: no such file or directory",
    }


@pytest.mark.parametrize("version", RUN)
def test_a_python_program_in_a_session_of_run(desk: Desk, version: str) -> None:
    python = python_sdk(desk.project.home, version)
    done = desk.run(python, PROGRAMS / "client.py")
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == expected(desk)
    assert (desk.project.home / "exported/a/b.txt").read_text() == "text"


def test_what_the_client_of_1_0_asks_for(tmp_path: Path) -> None:
    """The page of the documentation says what was measured."""
    python = python_sdk(tmp_path, NEWEST_1_0)
    [generated] = python.parents[1].glob("lib/python*/site-packages/dagger/client/gen.py")
    document = HOME / "docs/reference/dagger-1.0.md"
    again = f"python -m tests.sdk.client_calls GEN.PY {NEWEST_1_0} > {document}"
    assert document.read_text() == page(generated, NEWEST_1_0), f"generate it again: {again}"


@pytest.mark.parametrize("version", PROVISIONED)
def test_a_python_program_that_starts_its_session(desk: Desk, version: str) -> None:
    done = desk.provision(python_sdk(desk.project.home, version), PROGRAMS / "client.py")
    assert done.status == 0, done.stderr.decode()
    assert json.loads(done.stdout) == expected(desk)


@pytest.mark.slow
def test_a_program_of_0_18_in_a_session_of_run(desk: Desk) -> None:
    """`run` cannot see what runs in it: as with Dagger's CLI, a variable has the version."""
    python = python_sdk(desk.project.home, NEWEST_0_18)
    version = {"_EXPERIMENTAL_DAGGER_VERSION": f"v{NEWEST_0_18}"}
    done = desk.run(python, PROGRAMS / "client.py", **version)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == expected(desk)


@pytest.mark.parametrize("version", TYPESCRIPT)
def test_a_typescript_program(desk: Desk, version: str) -> None:
    home = desk.project.home
    node = typescript_sdk(home, version)
    shutil.copy(PROGRAMS / "client.mjs", home)
    done = desk.run(node, "client.mjs", _EXPERIMENTAL_DAGGER_VERSION=f"v{version}")
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == expected(desk)
