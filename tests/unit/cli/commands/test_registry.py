"""`layerline registry` as a process: TLS, login, refusals, and its end."""

from __future__ import annotations

import re
import signal
import ssl
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline import command
from layerline.cli.commands.registry import registry
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.errors import UsageError
from layerline.settings import Settings, process_environ

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 60.0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    own = {"HOME": str(tmp_path), "LAYERLINE_STORE": str(tmp_path / "store")}
    return {**process_environ(), **own}


def argv(*words: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "layerline", "registry", *words]


def make_certificate(place: Path) -> None:
    words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=x")
    files = ("-keyout", place / "key.pem", "-out", place / "cert.pem")
    more = ("-addext", "subjectAltName=IP:127.0.0.1")
    program = command.find("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    command.run([program, *words, *files, *more])


def test_it_serves_with_tls_and_a_password_until_it_is_interrupted(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    make_certificate(tmp_path)
    (tmp_path / "password").write_text("geheim\n")
    words = ("--listen=127.0.0.1:0", "--tls-cert=cert.pem", "--tls-key=key.pem")
    process = command.start(
        argv(*words, "--password-file=password"), env=environ, cwd=tmp_path, stderr=command.PIPE
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert line.startswith(f"serving {tmp_path / 'store'} at 127.0.0.1:"), line
        url = f"https://{line.split()[-1]}/v2/_catalog"
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with httpx.Client(verify=trust, trust_env=False) as http:
            assert http.get(url).status_code == 401
            found = http.get(url, auth=("layerline", "geheim"))
            assert found.json() == {"repositories": []}
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--listen=0.0.0.0:0", "0.0.0.0:0 is not of the loopback interface"),
        ("--listen=5000", "invalid address '5000': use HOST:PORT"),
        ("--tls-cert=x", "--tls-cert and --tls-key belong together"),
        ("--password-file=/dev/null", "/dev/null is empty: write a password into it"),
    ],
)
def test_what_cannot_be_served_is_refused(
    environ: dict[str, str], words: str, message: str
) -> None:
    console = Console(
        program="layerline",
        argv=[],
        options=Options.scan([]),
        settings=Settings.from_environ(environ),
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        registry(console, [words])
