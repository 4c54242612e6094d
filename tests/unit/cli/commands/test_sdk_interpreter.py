"""`run -- python3 program.py` finds the SDK, whatever Python the PATH has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from layerline.cli.commands.sdk_interpreter import with_sdk

if TYPE_CHECKING:
    from pathlib import Path


def test_a_python_that_has_the_sdk_is_used_as_it_is(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert with_sdk(str(python)) == str(python)


def test_a_python_without_the_sdk_is_replaced_by_the_tools_own(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    assert with_sdk(str(python)) == sys.executable


def test_other_programs_are_not_asked(tmp_path: Path) -> None:
    program = tmp_path / "build"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert with_sdk(str(program)) == str(program)
