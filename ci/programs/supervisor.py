"""Supervises a service for a test: starts the image's command, stops it and returns its output.

Run in the image; the arguments are the port to listen on, the user of a confined service or an
empty string, and the command. A confined service has a read-only root file system, is process 1 of
its own PID namespace, and has no capabilities.

    POST /start  {"NAME": "value", …}          restart with these additional variables
    POST /end    {"signal": 15, "seconds": 10}  returns {"status": …, "seconds": …}
    GET  /log                                  its output since its start
    GET  /process                              its user and rights

Invariant: between two answers at most one service runs, and it is a child of this process.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = ("mount", "-o", "remount,bind,ro", "/")
LOCKED_IN = ("unshare", "--pid", "--fork", "--kill-child", "--")
WITHOUT_RIGHTS = ("--init-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
LONGEST_SECONDS = 30.0
EVERY_OTHER = -1


class Service:
    """The command and its process. What it says is kept, and passed on."""

    def __init__(self, command: list[str], user: str) -> None:
        self.user = user
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.output = bytearray()
        self.turn = threading.Lock()

    def start(self, variables: dict[str, str]) -> dict[str, object]:
        """Stop the running command and start it again."""
        self.end(signal.SIGTERM, LONGEST_SECONDS)
        with self.turn:
            self.output = bytearray()
            self.process = subprocess.Popen(
                [*self._confinement(), *self.command],
                env={**os.environ, "TINI_SUBREAPER": "1", **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            threading.Thread(target=listen, args=(self.process, self.output), daemon=True).start()
            return {"pid": self.process.pid}

    def end(self, number: int, seconds: float) -> dict[str, object]:
        """Send a signal and wait; the status is None if that long was not enough."""
        with self.turn:
            if self.process is None:
                return {"status": None, "seconds": 0.0}
            began = time.monotonic()
            status = self._signal_and_wait(self.process, number, seconds)
            took = time.monotonic() - began
            if status is None or number == signal.SIGKILL:
                # The first process is gone, and cannot have signalled the others.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(EVERY_OTHER, signal.SIGKILL)
                self.process.wait()
            self.process = None
            return {"status": status, "seconds": round(took, 3)}

    def process_rights(self) -> dict[str, object]:
        """The rights of the process, from /proc."""
        with self.turn:
            assert self.process is not None
            text = Path(f"/proc/{self._first(self.process.pid)}/status").read_text()
        status = dict(line.split(":", 1) for line in text.splitlines())
        return {
            "uid": int(status["Uid"].split()[0]),
            "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
            "first": status["NSpid"].split()[-1] == "1",
            "read-only root": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        }

    def _confinement(self) -> list[str]:
        if not self.user:
            return []
        identity = (f"--reuid={self.user}", f"--regid={self.user}")
        return [*LOCKED_IN, "setpriv", *identity, *WITHOUT_RIGHTS, "--"]

    def _signal_and_wait(
        self, process: "subprocess.Popen[bytes]", number: int, seconds: float
    ) -> int | None:
        if process.poll() is None:
            os.kill(self._first(process.pid), number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _first(self, pid: int) -> int:
        """The service itself: the child of what has confined it, if that has come so far."""
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if self.user and children else pid


def listen(process: "subprocess.Popen[bytes]", output: bytearray) -> None:
    """Keep what a process says until it has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        output += line
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


class Answers(BaseHTTPRequestHandler):
    """The requests of the test."""

    service: Service

    def do_GET(self) -> None:
        """What the service output, or what it is."""
        if self.path == "/log":
            self._answer(bytes(self.service.output))
        else:
            self._answer(json.dumps(self.service.process_rights()).encode())

    def do_POST(self) -> None:
        """Start or end the service."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/start":
            answer = self.service.start(asked)
        else:
            answer = self.service.end(asked["signal"], asked["seconds"])
        self._answer(json.dumps(answer).encode())

    def _answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: the output is the service's."""


def main() -> None:
    """Start the service, and answer until the end."""
    port, user, *command = sys.argv[1:]
    if user:
        subprocess.run(ROOT, check=True)
    Answers.service = Service(command, user)
    Answers.service.start({})
    ThreadingHTTPServer(("", int(port)), Answers).serve_forever()


if __name__ == "__main__":
    main()
