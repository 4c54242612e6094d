"""The program that puts pip and the installer into an environment of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.pipeline.environment import program
from tests.integration.wheels import write_wheel


def test_pip_is_unpacked_and_installs_what_is_wanted(tmp_path: Path) -> None:
    """An INSTALLER (PEP 376) of pip's own would be from ensurepip, which installs it by itself."""
    kept, tools = tmp_path / "kept", tmp_path / "tools"
    write_wheel(kept, "wanted", "1.0")
    (tmp_path / "arguments").write_text("")
    (tmp_path / "wanted.txt").write_text("wanted==1.0\n")
    script = program("installer.sh")
    for path in ("/mnt/arguments", "/root/.cache/pip/kept"):
        assert path in script
        script = script.replace(path, str(tmp_path / path.rpartition("/")[2]))
    argv = ["sh", "-s", "--", str(tools), str(tmp_path / "wanted.txt")]
    environ = {"PATH": f"{Path(sys.executable).resolve().parent}:{command.DEFAULT_PATH}"}
    done = command.run(argv, stdin=script.encode(), env={**environ, "OFFLINE": "1"}, expect=None)
    if b"ensurepip is not available" in done.stdout:
        pytest.skip("this Python has no ensurepip")
    assert done.status == 0, done.stderr
    said = command.run([tools / "bin/pip", "list", "--format=freeze"]).stdout.decode()
    assert "wanted==1.0" in said.split()
    [own] = tools.glob("lib/python*/site-packages/pip-*.dist-info")
    assert not (own / "INSTALLER").exists()
