"""The tool as an ordinary user with subordinate ids: what root can do, without root."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.conftest import SOURCE
from tests.integration.conftest import processes
from tests.integration.test_terminal import read_until
from tests.ordinary_user import OrdinaryUser, ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import CommandLine

pytestmark = pytest.mark.privileged

VECTORS = Path(__file__).parents[1] / "conformance"
LONGEST_SECONDS = 900.0

CONNECTED = """
import asyncio, os
import dagger
import layerline

async def main():
    async with layerline.connect() as connection, dagger.connection():
        base = dagger.dag.container().from_("debian:bookworm-slim")
        print(await base.with_exec(["id", "-u"]).stdout(), os.getuid(), sorted(connection.environ))
    print("DAGGER_SESSION_PORT" in os.environ)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def user(container_user: None) -> Iterator[OrdinaryUser]:  # noqa: ARG001
    with ordinary_user() as made:
        yield made


@pytest.fixture
def environ(user: OrdinaryUser, bases: str) -> dict[str, str]:
    own = {
        "LAYERLINE_STORE": str(user.home / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
        "PYTHONPATH": str(SOURCE),
    }
    return user.environ({**process_environ(), **own})


def run(
    user: OrdinaryUser, environ: Mapping[str, str], *argv: str | Path, stdin: bytes | None = None
) -> command.Finished:
    return command.run(
        user.argv(argv),
        env=environ,
        cwd=user.home,
        stdin=stdin,
        timeout=LONGEST_SECONDS,
        expect=None,
    )


def test_every_vector_passes(user: OrdinaryUser, environ: dict[str, str], bases: str) -> None:
    number = sum(len(json.loads(path.read_text())["vectors"]) for path in VECTORS.rglob("*.json"))
    own = shlex.join([sys.executable, "-m", "layerline", "session"])
    options = ("--session-command", own, "--registry", bases)
    places = (VECTORS, VECTORS / "next", VECTORS / "own")
    done = run(user, environ, sys.executable, VECTORS / "run.py", *places, *options)
    lines = done.stdout.decode().splitlines()
    problems = "\n".join(line for line in lines if line.startswith("FAIL"))
    assert lines[-1:] == [f"{number} passed, 0 failed"], problems or done.stderr.decode()[-2000:]


def test_a_program_opens_a_session_itself(user: OrdinaryUser, environ: dict[str, str]) -> None:
    done = run(user, environ, sys.executable, "-c", CONNECTED)
    variables = ["DAGGER_SESSION_PORT", "DAGGER_SESSION_TOKEN"]
    uid = user.home.stat().st_uid
    assert done.stdout.decode().splitlines() == ["0", f" {uid} {variables}", "False"], done.stderr


def test_the_error_of_a_session_that_cannot_open_is_the_callers(
    user: OrdinaryUser, environ: dict[str, str]
) -> None:
    place = user.directory("not-a-store")
    (place / "file").touch()
    script = (
        "import layerline\ntry:\n    layerline.connect().__enter__()\n"
        "except layerline.StoreVersion as exc:\n    print(exc)"
    )
    done = run(user, {**environ, "LAYERLINE_STORE": str(place)}, sys.executable, "-c", script)
    said = f"{place} is not empty and is not a Layerline store"
    assert done.stdout.decode().startswith(said), done.stderr.decode()


def test_programs_of_the_user_run_with_the_users_ids(
    user: OrdinaryUser, environ: dict[str, str]
) -> None:
    own = user.home.stat()
    line = f"{own.st_uid} {own.st_gid}"
    script = "echo $(id -u) $(id -g); touch made; cat /proc/self/uid_map; exit 4"
    done = run(user, environ, sys.executable, "-m", "layerline", "run", "--", "sh", "-c", script)
    everything = ["0", "0", str(2**32 - 1)]
    assert done.stdout.decode().split() == [*line.split(), *everything], done.stderr
    assert done.status == 4
    nested = [sys.executable, "-m", "layerline", "query", "--silent"]
    words = ["-m", "layerline", "run", "--silent", "--", *nested]
    done = run(user, environ, sys.executable, *words, stdin=b"{ directory { digest } }")
    assert "digest" in json.loads(done.stdout)["directory"], done.stderr
    assert (user.home / "made").stat().st_uid == own.st_uid
    secret = '{ secret(uri: "cmd://echo $(id -u) $(id -g)") { plaintext } }'
    query = [sys.executable, "-m", "layerline", "query", "--silent"]
    answer = json.loads(run(user, environ, *query, stdin=secret.encode()).stdout)
    assert answer["secret"]["plaintext"].strip() == line


@pytest.mark.usefixtures("machine_root")  # which alone can make the image
def test_a_device_of_an_image_keeps_its_layer_and_cannot_be_opened(
    user: OrdinaryUser, environ: dict[str, str], command_line: CommandLine, bases: str
) -> None:
    def ask(asked: str, *, as_user: bool) -> Any:  # noqa: ANN401  any answer
        words = ["-m", "layerline", "query", "--silent"]
        who = command_line.environ
        argv: list[str | Path] = [sys.executable, *words]
        if as_user:
            who, argv = environ, list(user.argv(argv))
        done = command.run(argv, env=who, cwd=user.home, stdin=asked.encode(), expect=None)
        assert done.status == 0, done.stderr.decode()
        return json.loads(done.stdout)["container"]["from"]

    made = '["sh", "-c", "mknod -m 600 /srv/null c 1 3; mknod /srv/gone c 1 5"]'
    image = f"{bases}/devices:1"
    # Of root's containers only such a one has no user namespace of its own.
    made = f"args: {made}, insecureRootCapabilities: true"
    publish = f'withExec({made}) {{ publish(address: "{image}") }}'
    base = '{ container { from(address: "debian:bookworm-slim") { %s } } }'
    reference = ask(base % publish, as_user=False)["withExec"]["publish"]
    query = (
        '{ container { from(address: "%s") { rootfs { directory(path: "srv") { digest } } %s } } }'
    )
    tries = (
        "exec 2>&1; cat /srv/null; echo $?; echo x >/srv/null; echo $?; stat -c %F /srv/null; "
        "cp -a /srv /copied; ls /copied"
    )
    run_it = f'withExec(args: ["sh", "-c", "{tries}"]) {{ stdout }}'
    seen = ask(query % (reference, run_it), as_user=True)
    assert "cat: /srv/null: No such device or address\n1\n" in seen["withExec"]["stdout"]
    assert "cannot create /srv/null: No such device" in seen["withExec"]["stdout"]
    again = f'publish(address: "{bases}/devices:2")'
    ours, roots = (ask(query % (reference, again), as_user=each) for each in (True, False))
    assert ours == roots


def test_an_owner_without_a_subordinate_id_is_refused(
    user: OrdinaryUser, environ: dict[str, str]
) -> None:
    chown = 'chown(path: "f", owner: "%s") { digest }'
    query = '{ directory { withNewFile(path: "f", contents: "") { ' + chown + " } } }"
    argv = [sys.executable, "-m", "layerline", "query", "--silent"]
    last = min(sum(each.count for each in ranges) for ranges in (user.uids, user.gids))
    assert run(user, environ, *argv, stdin=(query % last).encode()).status == 0
    done = run(user, environ, *argv, stdin=(query % (last + 1)).encode())
    outside = f"the owner {last + 1}:{last + 1} is outside of this user's subordinate ids"
    assert done.status != 0
    assert outside in done.stdout.decode() + done.stderr.decode()


def test_the_user_looks_around_at_a_terminal(user: OrdinaryUser, environ: dict[str, str]) -> None:
    base = ("container", "from", "--address=debian:bookworm-slim")
    argv = user.argv([sys.executable, "-m", "layerline", "core", *base, "terminal", "--cmd=sh"])
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(user.home)
        os.execve("/usr/bin/env", ["env", *argv], environ)
    seen = read_until(terminal, b"# ")
    os.write(terminal, b"test -t 0 && id -u && tty; exit\n")
    seen += read_until(terminal, b"")
    os.close(terminal)
    assert b"0\r\n/dev/pts/0\r\n" in seen, seen
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen


def test_a_port_of_a_service_is_published(user: OrdinaryUser, environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base = ("container", "from", "--address=python:3.11-slim", "with-exposed-port", "--port=8000")
    served = "--args=python3,-m,http.server,8000,--directory,/etc"
    options = ("as-service", served, "up", f"--ports={port}:8000")
    argv = user.argv([sys.executable, "-m", "layerline", "core", *base, *options])
    process = command.start(argv, env=environ, cwd=user.home, stderr=command.PIPE)
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/debian_version") as got:
                    assert got.read().startswith(b"12")
                break
            except OSError:
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.1)
        else:
            pytest.fail("nobody listened")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def is_closed_soon(port: int) -> bool:
    """Whether nobody listens any more; the kernel ends what a killed process leaves soon after."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass
        time.sleep(0.1)
    return False


def test_a_program_has_its_session_only_while_both_live(
    user: OrdinaryUser, environ: dict[str, str]
) -> None:
    script = 'echo "$DAGGER_SESSION_PORT"; exec sleep 60'
    words = [sys.executable, "-m", "layerline", "run", "--", "sh", "-c", script]
    for number, status in ((signal.SIGTERM, 2), (signal.SIGINT, 2), (signal.SIGKILL, -9)):
        process = command.start(
            user.argv(words),
            env=environ,
            cwd=user.home,
            stdout=command.PIPE,
            stderr=command.PIPE,
        )
        assert process.stdout is not None
        port = int(process.stdout.readline())
        socket.create_connection(("127.0.0.1", port)).close()
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
        assert process.returncode == status, error
        assert (b"Canceled." in error) == (status == 2)
        assert is_closed_soon(port)


@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.3, 0.5, 0.8])
def test_a_signal_before_the_session_is_open_ends_everything(
    user: OrdinaryUser, environ: dict[str, str], after: float
) -> None:
    mark = f"never-{after}"
    words = [sys.executable, "-m", "layerline", "run", "--", "sh", "-c", "exec sleep 60", mark]
    process = command.start(user.argv(words), env=environ, cwd=user.home, stderr=command.PIPE)
    time.sleep(after)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=30)[1]
    assert process.returncode in (2, 128 + signal.SIGTERM, -signal.SIGTERM), error
    assert b"Traceback" not in error
    assert [line for line in processes(mark) if "sleep" in line] == []
