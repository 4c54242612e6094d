"""The program that puts pip and the installer into an environment of their own."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.pipeline.environment import program
from tests.integration.wheels import write_wheel


def run_installer(place: Path, wanted: str, *argv: str, **environ: str) -> Path:
    """Install what is wanted from the wheels in `kept`; the environment with it."""
    tools = place / "tools"
    (place / "arguments").write_text("")
    (place / "wanted.txt").write_text(wanted)
    script = program("installer.sh")
    for path in ("/mnt/arguments", "/root/.cache/pip/kept"):
        assert path in script
        script = script.replace(path, str(place / path.rpartition("/")[2]))
    words = ["sh", "-s", "--", str(tools), str(place / "wanted.txt"), *argv]
    own = {"PATH": f"{Path(sys.executable).resolve().parent}:{command.DEFAULT_PATH}"}
    done = command.run(words, stdin=script.encode(), env={**own, **environ}, expect=None)
    if b"ensurepip is not available" in done.stdout:
        pytest.skip("this Python has no ensurepip")
    assert done.status == 0, done.stderr
    return tools


def test_pip_is_unpacked_and_installs_what_is_wanted(tmp_path: Path) -> None:
    """An INSTALLER (PEP 376) of pip's own would be from ensurepip, which installs it by itself."""
    write_wheel(tmp_path / "kept", "wanted", "1.0")
    tools = run_installer(tmp_path, "wanted==1.0\n", OFFLINE="1")
    said = command.run([tools / "bin/pip", "list", "--format=freeze"]).stdout.decode()
    assert "wanted==1.0" in said.split()
    [own] = tools.glob("lib/python*/site-packages/pip-*.dist-info")
    assert not (own / "INSTALLER").exists()


def test_a_kept_wheel_whose_hash_is_known_is_installed_without_an_index(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "kept", "wanted", "1.0")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wanted = f"wanted==1.0 \\\n    --hash=sha256:{digest}\n"
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "0"}
    run_installer(tmp_path, wanted, "--require-hashes", "--only-binary=:all:", **nowhere)
