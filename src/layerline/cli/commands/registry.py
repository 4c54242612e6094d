"""`registry`: the images of the store for other programs, read-only and with a login."""

from __future__ import annotations

import secrets
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import host
from layerline.argument_parser import ArgumentParser
from layerline.engine import Login, TlsFiles, has_store, is_loopback, serve_images
from layerline.errors import HostError, UsageError
from layerline.text_file import reason_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from layerline.cli.console import Console

_ABOUT = (
    "Serve the images that were published or loaded from the store, read-only and with a login, "
    "until it is interrupted."
)
_DEFAULT_ADDRESS = "127.0.0.1:5000"
_DEFAULT_USER = "layerline"
_PASSWORD_BYTES = 16


def registry(console: Console, argv: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = _parser(f"{console.program} registry")
    options = parser.parse_args(list(argv))
    name, port = _address(options.listen, parser.prog)
    tls = _tls(options, console.workdir, parser.prog)
    if tls is None and not is_loopback(name):
        message = (
            f"{options.listen} is not of the loopback interface, and a login must not be sent "
            "without TLS: use --tls-cert and --tls-key"
        )
        raise UsageError(message, usage=parser.prog)
    password = _password(options, console.workdir, parser.prog)
    login = Login(username=options.username, secret=password)
    host.become_root()  # of the store, whose files belong to many users
    root = console.settings.store
    has_store(root)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        with serve_images(root, host=name, port=port, login=login, tls=tls) as port:
            place = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
            console.info(f"serving {root} at {place}")
            if options.password_file is None:
                console.info(f"log in: docker login -u {login.username} -p {login.secret} {place}")
            ended.wait()
    except OSError as exc:
        message = (
            f"cannot serve at {options.listen}: {reason_of(exc)}: use another address with --listen"
        )
        raise HostError(message) from exc
    return 0


def _parser(program: str) -> ArgumentParser:
    parser = ArgumentParser(prog=program, description=_ABOUT)
    address = f"address and port, 0 for a free one (default: {_DEFAULT_ADDRESS})"
    parser.add_argument("--listen", metavar="HOST:PORT", default=_DEFAULT_ADDRESS, help=address)
    user = f"user name of the login (default: {_DEFAULT_USER})"
    parser.add_argument("--username", metavar="NAME", default=_DEFAULT_USER, help=user)
    password = "file with the password (default: a new one, which is printed)"
    parser.add_argument("--password-file", metavar="FILE", type=Path, help=password)
    certificate = "certificate with its chain in PEM; required beyond loopback"
    parser.add_argument("--tls-cert", metavar="FILE", type=Path, help=certificate)
    parser.add_argument("--tls-key", metavar="FILE", type=Path, help="its key in PEM")
    return parser


def _address(text: str, usage: str) -> tuple[str, int]:
    name, colon, port = text.rpartition(":")
    if not colon or not name or not port.isdigit() or int(port) > 0xFFFF:
        message = f"invalid address '{text}': use HOST:PORT, e.g. {_DEFAULT_ADDRESS}"
        raise UsageError(message, usage=usage)
    return name.removeprefix("[").removesuffix("]"), int(port)


def _tls(options: argparse.Namespace, workdir: Path, usage: str) -> TlsFiles | None:
    files = (options.tls_cert, options.tls_key)
    if files == (None, None):
        return None
    if None in files:
        message = "--tls-cert and --tls-key belong together: use both"
        raise UsageError(message, usage=usage)
    for file in files:
        if not (workdir / file).is_file():
            message = f"{file} is not a file: --tls-cert and --tls-key take files in PEM"
            raise UsageError(message, usage=usage)
    return TlsFiles(*(workdir / file for file in files))


def _password(options: argparse.Namespace, workdir: Path, usage: str) -> str:
    if options.password_file is None:
        return secrets.token_urlsafe(_PASSWORD_BYTES)
    try:
        password: str = (workdir / options.password_file).read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        message = (
            f"cannot read {options.password_file}: {reason_of(exc)}: write a password into a file, "
            "or leave --password-file out for a new one"
        )
        raise UsageError(message, usage=usage) from exc
    if not password:
        message = f"{options.password_file} is empty: write a password into it"
        raise UsageError(message)
    return password
