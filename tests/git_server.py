"""A git server on the loopback: git's own smart HTTP, with a password where one is wanted."""

from __future__ import annotations

import base64
import contextlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main")


def commit(repository: Path, *tags: str) -> str:
    """Commit all files of a directory, which becomes a repository; returns the commit."""
    for argv in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "x")):
        command.run(["git", *OWN, *argv], cwd=repository)
    for tag in tags:
        command.run(["git", "tag", tag], cwd=repository)
    return command.run(["git", "rev-parse", "HEAD"], cwd=repository).stdout.decode().strip()


@contextlib.contextmanager
def serve(root: Path, password: str = "") -> Iterator[str]:
    """Serve the repositories in a directory; yields host and port."""
    backend = Path(command.run(["git", "--exec-path"]).stdout.decode().strip(), "git-http-backend")
    wanted = f"Basic {base64.b64encode(f'user:{password}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def do_GET(self) -> None:
            if password and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environ = {
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            done = command.run([backend], env=environ, stdin=body, expect=None)
            head, _, rest = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest)

        do_POST = do_GET

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"127.0.0.1:{port}"
