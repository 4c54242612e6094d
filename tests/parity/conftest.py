"""Behaviours of the Dagger engine beyond the recorded ones, asked of a real session.

A case says what it pins, and why the Dagger engine is believed to do so: by its documents, its
tests or its source. Answers are compared as a client sees them.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from layerline.settings import process_environ
from tests.conftest import SOURCE, CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SECONDS = 60.0
IMAGE = "debian:bookworm-slim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A query, and the value that it leads to, or a pattern of its error's message.

    `$given` in the query stands for the answer to the query `given`, an id.
    """

    pins: str
    why: str
    query: str
    given: str = ""
    answer: Any = None
    error: str = ""

    def __str__(self) -> str:
        return self.pins.replace(" ", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParitySession:
    """An open session of the command line, asked over HTTP."""

    client: httpx.Client
    workdir: Path
    registry: str

    def post(self, body: bytes | str | Mapping[str, Any]) -> httpx.Response:
        """One request, whatever its body."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        headers = {"content-type": "application/json"}
        return self.client.post("/query", content=content, headers=headers)

    def answer(self, query: str, variables: Mapping[str, object] | None = None) -> object:
        """What the query's only leaf, or its last selection of several fields, holds."""
        body = self.post({"query": query, "variables": variables}).json()
        assert "errors" not in body, body["errors"]
        value = body["data"]
        while isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        return cast("object", value)

    def identity(self, query: str) -> str:
        """The id that a query leads to."""
        found = self.answer(query)
        assert isinstance(found, str)
        return found

    def error(self, query: str) -> dict[str, Any]:
        """The first error of a query that fails."""
        body = self.post({"query": query}).json()
        assert body.get("errors"), body
        assert body["data"] is None
        error: dict[str, Any] = body["errors"][0]
        return error

    def check(self, case: Case) -> None:
        """Ask a case."""
        query = case.query
        if case.given:
            query = query.replace("$given", self.identity(case.given))
        if case.error:
            message = self.error(query)["message"]
            assert re.search(case.error, message), f"{message!r}, but {case.why}"
        else:
            assert self.answer(query) == case.answer, case.why


def directory(selection: str) -> str:
    """A query that begins with an empty directory."""
    return f"{{ directory {{ {selection} }} }}"


def box(selection: str) -> str:
    """A query that begins with a container of Debian."""
    return f'{{ container {{ from(address: "{IMAGE}") {{ {selection} }} }} }}'


def sh(script: str, more: str = "", *, then: str = "stdout") -> str:
    """A selection: a shell script run in the container."""
    return f'withExec(args: ["sh", "-c", {json.dumps(script)}]{more}) {{ {then} }}'


@pytest.fixture(scope="session")
def parity_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all cases."""
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def session(
    bases: str, parity_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ParitySession]:
    """A session for the cases of one module."""
    workdir = tmp_path_factory.mktemp("work")
    own = {
        "HOME": str(parity_store),
        "LAYERLINE_STORE": str(parity_store / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
        "PYTHONPATH": str(SOURCE),
        "PARITY_SECRET": "hunter22",
    }
    line = CommandLine(environ={**process_environ(), **own}, workdir=workdir)
    process = line.start("session")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        params = json.loads(process.stdout.readline())
        token = base64.b64encode(f"{params['session_token']}:".encode()).decode()
        with httpx.Client(
            base_url=f"http://127.0.0.1:{params['port']}",
            headers={"authorization": f"Basic {token}"},
            timeout=SECONDS,
        ) as client:
            yield ParitySession(client=client, workdir=workdir, registry=bases)
    finally:
        process.stdin.close()
        process.wait(timeout=SECONDS)
        process.stdout.close()
        process.stderr.close()
