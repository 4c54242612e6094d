"""One probe in all that runs code: it reaches nothing of the host, run by root or by a user."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from layerline import command
from layerline.settings import process_environ
from tests.capabilities import SOURCE, no_container_user
from tests.conftest import skip_because
from tests.ordinary_user import OrdinaryUser, ordinary_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.privileged

HERE = Path(__file__).parent
CODE = (HERE / "probe.py").read_text()
SECONDS = 120.0
SERVE = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port=80)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """A session, and the host's port and token that no probe may get at."""

    client: httpx.Client
    port: int
    digest: str
    file: Path
    call: Callable[..., str]

    def ask(self, selection: str) -> dict[str, Any]:
        """What the probe's output shows that the selection's only leaf holds."""
        image = f'from(address: "python:3.11-slim") {{ {selection} }}'
        query = f"{{ container {{ {image} }} }}"
        body = self.client.post("/query", json={"query": query}).json()
        assert "errors" not in body, body["errors"]
        value = body["data"]
        while isinstance(value, dict):
            (value,) = value.values()
        found: dict[str, Any] = json.loads(value)
        return found

    @property
    def arguments(self) -> tuple[str, str, str]:
        """The arguments of the probe."""
        return str(self.port), self.digest, str(self.file)

    def argv(self, *before: str) -> str:
        """The command line of the probe, as GraphQL writes a list."""
        return json.dumps([*before, "python", "-c", CODE, *self.arguments])


@pytest.fixture(scope="module", params=["root", "user"] if os.geteuid() == 0 else ["user"])
def probes(
    request: pytest.FixtureRequest, bases: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Probes]:
    """Probes in a session of root, and of an ordinary user."""
    with ExitStack() as stack:
        user = None
        if request.param == "user":
            skip_because(no_container_user)
            user = stack.enter_context(ordinary_user())
        home = user.home if user else tmp_path_factory.mktemp("isolation")
        environ = {
            **process_environ(),
            "HOME": str(home),
            "LAYERLINE_STORE": str(home / "store"),
            "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
            "PYTHONPATH": str(SOURCE),
        }
        yield stack.enter_context(serve_probes(environ, home, user))


@contextmanager
def serve_probes(
    environ: Mapping[str, str], workdir: Path, user: OrdinaryUser | None
) -> Iterator[Probes]:
    """A session in a process of its own."""
    words = [sys.executable, "-m", "layerline"]
    (workdir / "file").write_text("of the host")
    if user is not None:
        environ = user.environ(environ)

    def line(*arguments: str | Path) -> list[str | Path]:
        return [*(user.argv(words) if user else words), *arguments]

    def call(*arguments: str | Path) -> str:
        argv = line("call", "--progress=plain", *arguments)
        return command.run(argv, env=environ, cwd=workdir, timeout=SECONDS).stdout.decode()

    session = command.start(
        line("session"),
        env=environ,
        cwd=workdir,
        stdin=command.PIPE,
        stdout=command.PIPE,
        stderr=command.DEVNULL,
    )
    assert session.stdout is not None
    assert session.stdin is not None
    try:
        params = json.loads(session.stdout.readline())
        token = params["session_token"]
        encoded = base64.b64encode(f"{token}:".encode()).decode()
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            httpx.Client(
                base_url=f"http://127.0.0.1:{params['port']}",
                headers={"authorization": f"Basic {encoded}"},
                timeout=SECONDS,
            ) as client,
        ):
            yield Probes(
                client=client,
                port=server.getsockname()[1],
                file=workdir / "file",
                digest=hashlib.sha256(token.encode()).hexdigest(),
                call=call,
            )
    finally:
        session.stdin.close()
        session.wait(30)
        session.stdout.close()


NOTHING = {
    "capabilities beyond BuildKit's": 0,
    "seccomp": "2",
    "masked paths that show something": [],
    "devices": [],
    "disk": "PermissionError",
    "kernel settings": "OSError",
    "mount": "PermissionError",
    "host's files": "FileNotFoundError",
    "programs of others": [],
    "host's loopback": "ConnectionRefusedError",
    "metadata": "ConnectionRefusedError",
    "links": ["eth0", "lo"],
    "token": [],
}


def exec_(probes: Probes) -> dict[str, Any]:
    return probes.ask(f"withExec(args: {probes.argv()}) {{ stdout }}")


def nested_exec(probes: Probes) -> dict[str, Any]:
    more = "experimentalPrivilegedNesting: true"
    return probes.ask(f"withExec(args: {probes.argv()}, {more}) {{ stdout }}")


def service(probes: Probes) -> dict[str, Any]:
    """The probe of a service, which shows its output on a port."""
    script = f'cd /srv && "$@" > out && exec python -c "{SERVE}"'
    served = (
        f"withExposedPort(port: 80) {{ asService(args: {probes.argv('sh', '-c', script, 'sh')}) "
        "{ id } }"
    )
    image = f'{{ container {{ from(address: "python:3.11-slim") {{ {served} }} }} }}'
    body = probes.client.post("/query", json={"query": image}).json()
    assert "errors" not in body, body["errors"]
    found = body["data"]["container"]["from"]["withExposedPort"]["asService"]["id"]
    fetch = "import urllib.request as r; print(r.urlopen('http://web/out').read().decode())"
    argv = json.dumps(["python", "-c", fetch])
    return probes.ask(
        f'withServiceBinding(alias: "web", service: "{found}") '
        f"{{ withExec(args: {argv}) {{ stdout }} }}"
    )


def dockerfile_run(probes: Probes) -> dict[str, Any]:
    dockerfile = (
        "FROM python:3.11-slim\nCOPY probe.py /\n"
        f"RUN python /probe.py {' '.join(probes.arguments)} > /out\n"
    )
    files = (
        f'withNewFile(path: "Dockerfile", contents: {json.dumps(dockerfile)}) '
        f'{{ withNewFile(path: "probe.py", contents: {json.dumps(CODE)}) '
        '{ dockerBuild { file(path: "/out") { contents } } } }'
    )
    body = probes.client.post("/query", json={"query": f"{{ directory {{ {files} }} }}"}).json()
    assert "errors" not in body, body["errors"]
    value = body["data"]
    while isinstance(value, dict):
        (value,) = value.values()
    found: dict[str, Any] = json.loads(value)
    return found


def module_code(probes: Probes) -> dict[str, Any]:
    port, digest, file = probes.arguments
    words = [f"--code={CODE}", f"--port={port}", f"--digest={digest}", f"--file={file}"]
    found: dict[str, Any] = json.loads(probes.call(f"--mod={HERE / 'module'}", "look", *words))
    return found


@pytest.mark.parametrize("kind", [exec_, nested_exec, service, dockerfile_run, module_code])
def test_nothing_of_the_host_is_reached(
    probes: Probes, kind: Callable[[Probes], dict[str, Any]]
) -> None:
    seen = kind(probes)
    assert seen == NOTHING
