"""What a user names as a file and what cannot be read or written is an error with a way out.

Where Dagger reads the file itself, the text is that of Go's os.ReadFile: `open NAME: reason`
(https://github.com/dagger/dagger/blob/v0.21.8/cmd/dagger/query.go).
"""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from layerline.cli.main import run_command_line

if TYPE_CHECKING:
    from pathlib import Path

LONG = "n" * 300
NOT_TEXT = b"\xff\xfe\x80"
UNREADABLE = {
    "missing": "no such file or directory",
    "directory": "is a directory",
    "file/below": "not a directory",
    "loop": "too many levels of symbolic links",
    LONG: "file name too long",
    "bytes": "not UTF-8 text (byte 0xff at offset 0)",
}
MODULE = {"name": "m", "sdk": {"source": "python"}, "engineVersion": "v0.21.8"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with files that are not what is wanted, and a module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAYERLINE_STORE", str(tmp_path / "store"))
    for name in ("SSL_CERT_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("{ version }")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "bytes").write_bytes(NOT_TEXT)
    (tmp_path / "m/src").mkdir(parents=True)
    (tmp_path / "m/dagger.json").write_text(json.dumps(MODULE))
    (tmp_path / "m/pyproject.toml").write_text('[project]\nname = "m"\nversion = "1"\n')
    return tmp_path


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The error that a command ends with, in one piece."""
    assert run_command_line(["--silent", *argv]) == 1
    shown = capsys.readouterr().err
    for phrase in ("unexpected", "defect", "Traceback", "Errno", "codec"):
        assert phrase not in shown
    return shown.partition("Error: ")[2]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_query(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = error_of(capsys, "query", "--doc", name)
    assert shown.startswith(f"open {name}: {UNREADABLE[name]}: name a file with a query, or ")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("script", [(), ("_source",), ("cat", "<")], ids=["file", "source", "<"])
def test_a_script(name: str, script: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("--code", " ".join([*script, name])) if script else (name,)
    assert f"open {name}: {UNREADABLE[name]}" in error_of(capsys, "shell", "--no-mod", *argv)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", ["query", "shell"])
def test_standard_input(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = io.TextIOWrapper(io.BytesIO(NOT_TEXT), encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", given)
    shown = error_of(capsys, command)
    assert shown.startswith("read standard input: not UTF-8 text (byte 0xff at offset 0)")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/below/x", "not a directory: use another path"),
        ("file/x", "not a directory: use another path"),
        ("loop/x", "not a directory: use another path"),
        (LONG, "file name too long: use another path"),
    ],
)
def test_a_result_to_be_saved(name: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reason in error_of(capsys, "core", "version", "-o", name)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "argv",
    [
        ("core", "host", "file", "--path", LONG, "contents"),
        ("core", "host", "directory", "--path", LONG, "entries"),
        ("core", "directory", "with-file", "--path=x", f"--source={LONG}", "entries"),
        ("core", "directory", "with-directory", "--path=x", f"--source={LONG}", "entries"),
        ("functions", "-m", LONG),
        ("store", "volume", "import", LONG),
    ],
    ids=lambda argv: " ".join(argv[:4]).replace(LONG, "LONG"),
)
def test_a_name_that_is_too_long(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{LONG}: file name too long: use another path" in error_of(capsys, *argv)


@pytest.mark.parametrize(
    ("name", "argv", "hint"),
    [
        ("m/requirements.lock", ("functions", "-m", "m"), "lock the module's dependencies again"),
        ("m/.gitignore", ("develop", "-m", "m"), "write it in UTF-8, or move it away"),
        (".config/layerline/config.toml", ("core", "version"), "fix it or move it away"),
        ("m/pyproject.toml", ("functions", "-m", "m"), ""),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_a_file_that_is_not_text(
    place: Path, name: str, argv: tuple[str, ...], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(NOT_TEXT)
    shown = error_of(capsys, *argv)
    assert str(place / name) in shown
    assert "not UTF-8 text (byte 0xff at offset 0)" in shown
    assert hint in shown


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (NOT_TEXT, "it has none"),
        (b"-----BEGIN CERTIFICATE-----\nnothing\n", "they are not PEM"),
    ],
)
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "VAULT_CACERT"])
def test_certificates(
    place: Path,
    variable: str,
    content: bytes,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (place / "ca.pem").write_bytes(content)
    for name, value in (
        (variable, str(place / "ca.pem")),
        ("VAULT_ADDR", "https://127.0.0.1:1"),
        ("VAULT_TOKEN", "token"),
    ):
        monkeypatch.setenv(name, value)
    reading = ("core", "secret", "--uri=vault://x/y.z", "plaintext")
    loading = ("core", "http", "--url=https://127.0.0.1:1/x", "contents")
    shown = error_of(capsys, *(reading if variable == "VAULT_CACERT" else loading))
    assert f"cannot use the certificates in {place}/ca.pem: {reason}: set {variable} to" in shown


def test_a_dockerfile_without_a_stage(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "requirements.txt").write_text("attrs\n")
    (place / "Dockerfile").write_text("nothing\n")
    assert run_command_line(["init", "--dry-run"]) == 0
    assert "[groups" in capsys.readouterr().out
