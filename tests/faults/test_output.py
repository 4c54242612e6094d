"""The output of a program: how fast it is taken, and in what memory (line 9 of issue 15)."""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from tests.faults.conftest import MIB, AttackedSession

pytestmark = [pytest.mark.slow, pytest.mark.privileged]
SIZE = 256 * MIB
IDLE = 1400  # MiB/s of SHA-256
LINE = "0123456 a line of a build's log, with a path: /usr/lib/python3/dist-packages/module.py"
IMAGE = 'container { from(address: "debian:bookworm-slim")'


def lines(size: int, then: str, secret: str = "") -> str:
    script = json.dumps(f'yes "{LINE}" | head -c {size}')
    exec_ = f'withExec(args: ["sh", "-c", {script}]) {{ {then} }}'
    inner = f'withSecretVariable(name: "S", secret: "{secret}") {{ {exec_} }}' if secret else exec_
    return f"{{ {IMAGE} {{ {inner} }} }} }}"


def pace() -> float:
    """How fast this machine is now, compared with the idle one of the bounds: its work on hashes.

    Other processes on the other threads of a core slow each other down by a third.
    """
    began = time.process_time()
    for _ in range(128):
        hashlib.sha256(bytes(MIB)).digest()
    return min(1.0, 128 / (time.process_time() - began) / IDLE)


def measure(attacked: AttackedSession, text: str, size: int) -> tuple[float, int, int]:
    """MiB a second of the session's own time, the memory it took, and the size of the answer."""
    assert attacked.ask(f"{{ {IMAGE} {{ sync }} }} }}")[0] == 200
    before = attacked.peak()
    began = time.perf_counter(), attacked.cpu_seconds()
    status, body = attacked.ask(text)
    wall, seconds = time.perf_counter() - began[0], attacked.cpu_seconds() - began[1]
    assert status == 200
    assert b'"errors"' not in body[:100]
    speed = size / MIB / seconds / pace()
    memory = (attacked.peak() - before) // MIB
    print(f"{speed:.0f} MiB/s of CPU time, {size / MIB / wall:.0f} MiB/s, {memory} MiB")
    return speed, attacked.peak() - before, len(body)


def test_output_that_nobody_asks_for(attacked: AttackedSession) -> None:
    speed, memory, _ = measure(attacked, lines(SIZE, "sync"), SIZE)
    assert speed > 100
    assert memory < 64 * MIB


def test_output_that_is_asked_for(attacked: AttackedSession) -> None:
    speed, memory, size = measure(attacked, lines(SIZE, "stdout"), SIZE)
    assert size > SIZE
    assert speed > 100
    assert memory < 3 * SIZE


def test_output_of_a_program_with_a_secret(attacked: AttackedSession) -> None:
    _, body = attacked.ask('{ setSecret(name: "s", plaintext: "hunter2hunter2") { id } }')
    secret = json.loads(body)["data"]["setSecret"]["id"]
    speed, memory, _ = measure(attacked, lines(64 * MIB, "sync", secret), 64 * MIB)
    assert speed > 20
    assert memory < 64 * MIB
