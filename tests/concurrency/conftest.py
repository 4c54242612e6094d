"""Sessions of their own processes on one store, asked by HTTP as SDKs do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from layerline import command
    from tests.conftest import CommandLine

DEBIAN = 'from(address: "debian:bookworm-slim")'


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One session's client."""

    http: httpx.Client
    url: str
    process: command.Process[bytes]

    def post(self, query: str) -> dict[str, Any]:
        """The whole answer."""
        answer: dict[str, Any] = self.http.post(self.url, json={"query": query}).json()
        return answer

    def ask(self, query: str) -> Any:  # noqa: ANN401
        """The data of an answer without errors."""
        answer = self.post(query)
        assert "errors" not in answer, answer
        return answer["data"]

    def volume(self, key: str) -> str:
        """The id of a cache volume."""
        identifier: str = self.ask(f'{{ cacheVolume(key: "{key}") {{ id }} }}')["cacheVolume"]["id"]
        return identifier

    def shell(self, script: str, *mounts: str, unique: str = "") -> str:
        """What a script prints; mounts are fields such as `withMountedCache(…)`."""
        steps = [
            DEBIAN,
            *mounts,
            f'withEnvVariable(name: "UNIQUE", value: "{unique}")',
            f'withExec(args: ["sh", "-c", {json.dumps(script)}])',
        ]
        query = "{ container { " + " { ".join(steps) + " { stdout" + " }" * (len(steps) + 2)
        found = self.ask(query)["container"]
        while "stdout" not in found:
            (found,) = found.values()
        return str(found["stdout"])


Connect = Callable[[], AbstractContextManager[Client]]


@pytest.fixture
def connect(command_line: CommandLine) -> Connect:
    """Start another session on the test's store."""

    @contextlib.contextmanager
    def started() -> Iterator[Client]:
        process = command_line.start("session", "--silent")
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        url = f"http://127.0.0.1:{told['port']}/query"
        auth = (told["session_token"], "")
        try:
            with httpx.Client(auth=auth, timeout=300, trust_env=False) as http:
                yield Client(http=http, url=url, process=process)
        finally:
            process.stdin.close()
            process.stdin = None
            process.communicate(timeout=30)

    return started
