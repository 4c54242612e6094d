"""A registry that fails costs a message, and the build ends well."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline.engine.cache.artifact import artifact_of, config_in
from layerline.engine.cache.envelope import Envelope, parse_envelope
from layerline.engine.cache.record import parse_record
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.store.digest import parse_digest
from layerline.engine.store.store import Store
from tests.registry import serving
from tests.unit.cache.conftest import HOST, is_layer
from tests.unit.cache.test_shared_steps import CHAIN, UUID
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cache.conftest import Machine

pytestmark = [pytest.mark.privileged, pytest.mark.usefixtures("overlay")]


@pytest.fixture
def refusing() -> Iterator[str]:
    """A server that answers each request with 403, as a registry does without a login."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_refuse, args=(server,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _refuse(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # the test is over
            return
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("mode", ["read", "read,write"])
async def test_a_registry_that_is_down_costs_one_message(
    machines: tuple[Machine, Machine], rootfs: Path, mode: str
) -> None:
    machine = replace(machines[1], cache="127.0.0.1:9/down", mode=mode)
    await machine.run(rootfs, CHAIN % (UUID, "exitCode"))
    assert len(machine.containers()) == 2
    assert len(machine.warnings()) == 1
    assert "connection refused" in machine.warnings()[0]


async def test_a_registry_that_refuses_costs_one_message(
    machines: tuple[Machine, Machine], rootfs: Path, refusing: str
) -> None:
    machine = replace(machines[0], cache=f"{refusing}/cache")
    await machine.run(rootfs, CHAIN % (UUID, "exitCode"))
    assert len(machine.containers()) == 2
    assert len(machine.warnings()) == 1
    assert "denied" in machine.warnings()[0]


@pytest.mark.slow
async def test_a_registry_that_stalls_costs_one_message(
    machines: tuple[Machine, Machine], rootfs: Path, stalled: str
) -> None:
    machine = replace(machines[0], cache=f"{stalled}/cache")
    await machine.run(rootfs, CHAIN % (UUID, "exitCode"))
    assert len(machine.containers()) == 2
    assert len(machine.warnings()) == 1


async def test_a_registry_that_is_killed_in_the_middle_costs_one_message(
    machines: tuple[Machine, Machine], rootfs: Path, tmp_path: Path
) -> None:
    (tmp_path / "mortal").mkdir()
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serving(tmp_path / "mortal"))
        machine = replace(machines[0], cache=f"{address}/cache")
        async with machine.session() as session:
            root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
            await ask(session, CHAIN % (UUID, "exitCode"), root=root)
            stack.close()
            await ask(session, CHAIN % ('args: ["echo"]', "exitCode"), root=root)
    assert len(machine.containers()) == 4
    assert len(machine.warnings()) == 1


async def test_what_ran_before_a_step_that_failed_is_sent(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    for machine in machines:
        with pytest.raises(ExceptionGroup):
            await machine.run(rootfs, CHAIN % (UUID, 'withExec(args: ["cat", "/none"]) { stdout }'))
    assert len(first.containers()) == 2
    assert second.containers() == []


async def test_what_the_registry_has_lost_is_built_again(
    machines: tuple[Machine, Machine], rootfs: Path, registry_blobs: Path
) -> None:
    first, second = machines
    query = CHAIN % (UUID, 'file(path: "/more") { contents }')
    made = await first.run(rootfs, query)
    layers = [path for path in (first.store / "blobs").iterdir() if is_layer(path)]
    assert layers
    for path in layers:
        (registry_blobs / path.name[:2] / path.name / "data").unlink()
    assert await second.run(rootfs, query) == made
    assert len(second.containers()) == 2


async def test_a_layer_that_was_changed_is_not_taken(
    machines: tuple[Machine, Machine], rootfs: Path, registry_blobs: Path
) -> None:
    first, second = machines
    query = CHAIN % (UUID, 'file(path: "/more") { contents }')
    made = await first.run(rootfs, query)
    for path in filter(is_layer, (first.store / "blobs").iterdir()):
        stored = registry_blobs / path.name[:2] / path.name / "data"
        data = bytearray(stored.read_bytes())
        data[len(data) // 2] ^= 1
        stored.write_bytes(data)
    assert await second.run(rootfs, query) == made
    assert len(second.containers()) == 2
    assert len(second.warnings()) == 1


async def test_a_layer_that_unpacks_to_something_else_is_not_taken(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    """The blob is what its digest says, but not what the record says of its content."""
    first, second = machines
    query = CHAIN % (UUID, 'file(path: "/more") { contents }')
    made = await first.run(rootfs, query)
    change_contents(first)
    assert await second.run(rootfs, query) == made
    assert len(second.containers()) == 2


async def test_promises_count_as_absent_without_the_cache(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    await first.run(rootfs, CHAIN % (UUID, "exitCode"))
    await second.run(rootfs, CHAIN % (UUID, "exitCode"))
    alone = replace(second, cache="")
    await alone.run(rootfs, CHAIN % (UUID, 'file(path: "/more") { contents }'))
    assert len(alone.containers()) == 2


def change_contents(machine: Machine) -> None:
    """Let all records name another content of their layers than these have."""
    settings = machine.settings()
    with Store.open(settings.store) as store, Registries.open(settings) as registries:
        repository = registries.registry(Reference.parse(machine.cache))
        listed = httpx.get(f"http://{machine.cache.replace('/', '/v2/', 1)}/tags/list")
        for tag in listed.json()["tags"]:
            place = replace(repository, reference=replace(repository.reference, tag=tag))
            envelope = config_in(place.manifest(tag).data)[1]
            assert envelope is not None
            record = parse_record(parse_envelope(envelope).payload)
            layers = {
                name: replace(layer, diff_id=parse_digest("sha256:" + "1" * 64))
                for name, layer in record.layers.items()
            }
            changed = replace(record, layers=layers)
            sealed = Envelope(payload=changed.payload()).encode()
            place.push(store, artifact_of(changed, sealed))
