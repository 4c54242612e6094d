"""A session in a process of its own, whose memory and whose answers to others are watched."""

from __future__ import annotations

import base64
import http.client
import json
import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from layerline.settings import process_environ
from tests.conftest import SOURCE, CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedSession:
    """An open session; each request has a connection of its own."""

    port: int
    token: str
    process: int

    @property
    def authorization(self) -> str:
        """The header's value."""
        return "Basic " + base64.b64encode(f"{self.token}:".encode()).decode()

    def post(self, body: bytes) -> tuple[int, bytes]:
        """The status and the body of an answer; 0 where the connection was closed without one."""
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        with closing(client):
            try:
                client.request("POST", "/query", body, headers)
                answer = client.getresponse()
                return answer.status, answer.read()
            except ConnectionError:
                return 0, b""

    def ask(self, query: str) -> tuple[int, bytes]:
        """The answer to a query."""
        return self.post(json.dumps({"query": query}).encode())

    def cpu_seconds(self) -> float:
        """The time that the process has used, which other load does not lengthen."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self) -> int:
        """The most bytes that the process has held in memory."""
        for line in Path(f"/proc/{self.process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError


@dataclass(slots=True)
class OtherClient:
    """Asks for the version again and again while a block runs.

    `worst` is the processor time that the session used while one question waited, in seconds: on an
    idle machine that is the wait, and other processes do not lengthen it. `longest` is the wait.
    """

    session: AttackedSession
    worst: float = 0.0
    longest: float = 0.0
    failures: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> OtherClient:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._thread is not None
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.wait(0.02):
            began, used = time.perf_counter(), self.session.cpu_seconds()
            status, _ = self.session.ask("{ version }")
            self.worst = max(self.worst, self.session.cpu_seconds() - used)
            self.longest = max(self.longest, time.perf_counter() - began)
            self.failures += status != 200


@pytest.fixture
def attacked(bases: str, tmp_path: Path) -> Iterator[AttackedSession]:
    """A session that nothing was asked of but its version."""
    own = {
        "HOME": str(tmp_path),
        "LAYERLINE_STORE": str(tmp_path / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
        "PYTHONPATH": str(SOURCE),
    }
    line = CommandLine(environ={**process_environ(), **own}, workdir=tmp_path)
    process = line.start("session")
    streams: list[IO[bytes]] = [x for x in (process.stdin, process.stdout, process.stderr) if x]
    stdin, stdout, stderr = streams
    params = json.loads(stdout.readline())
    # Progress is shown there; nobody who reads it slows the session down.
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: stderr.read(MIB), b"")])
    reader.start()
    try:
        session = AttackedSession(
            port=params["port"], token=params["session_token"], process=_server_of(params["port"])
        )
        for _ in range(3):
            session.ask("{ version container { id } }")
        yield session
    finally:
        stdin.close()
        process.wait(timeout=SECONDS)
        reader.join()
        stdout.close()
        stderr.close()


def _server_of(port: int) -> int:
    """The process that listens on a port."""
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {
        row.split()[9] for row in table if row.split()[1].endswith(f":{port:04X}") and " 0A " in row
    }
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.removeprefix("socket:[").removesuffix("]") in inodes:
            return int(link.parts[2])
    raise AssertionError(port)
