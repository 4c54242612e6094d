"""One of the machines that want a key at once builds it; a registry that fails costs little."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import anyio
import httpx
import pytest

from layerline.engine.cache import leases as module_of_leases
from layerline.engine.cache.envelope import LEASE, Envelope
from layerline.engine.cache.lease import Lease, Watch, parse_lease
from layerline.engine.cache.lease_tag import LeaseTags, lease_tag
from layerline.engine.cache.leases import Leases, Timing, Wanted
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Credentials
from layerline.engine.store.digest import digest_bytes
from layerline.errors import ArchiveInvalid, Cancelled
from layerline.log import Event, Journal
from layerline.settings import Settings
from tests.http_server import running
from tests.registry import serving
from tests.unit.cache.lease_client import clients, first_to_start
from tests.unit.cache.test_shared_steps import CHAIN, UUID
from tests.unit.cache.test_trust import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.cache.conftest import Machine

TAG = "k-" + "1" * 64
BOUND = 30.0
QUICK = Timing(settle=0.2, late=2.0, check=0.2)


def plain(payload: bytes, kind: str) -> bytes:
    return Envelope(payload=payload, kind=kind).encode()


def believe(envelope: Envelope) -> Lease:
    return parse_lease(envelope.payload)


@dataclass(kw_only=True)
class Builder:
    """One machine's leases; `records` stands for what the machines have built."""

    leases: Leases
    records: set[str]
    said: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    sent: threading.Event = field(default_factory=threading.Event)
    cancel: threading.Event = field(default_factory=threading.Event)

    def wanted(self, tag: str = TAG, below: tuple[str, ...] = ()) -> Wanted:
        return Wanted(tag=tag, name="a step", look=lambda: tag in self.records, below=below)

    def wait(self, tag: str = TAG, below: tuple[str, ...] = ()) -> bool:
        return self.leases.wait(self.wanted(tag, below), self.cancel)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Callable[..., Builder]]:
    """A function that makes the leases of another machine with a cache."""
    records: set[str] = set()
    settings = Settings(store=tmp_path, home=tmp_path, config=tmp_path / "none")
    with contextlib.ExitStack() as stack:

        def make(
            cache: str,
            timing: Timing = QUICK,
            *,
            seal: Callable[[bytes, str], bytes] = plain,
            verify: Callable[[Envelope], Lease] = believe,
            patience: float = BOUND,
        ) -> Builder:
            registries = Registries(
                settings=settings,
                credentials=Credentials.of(settings),
                timeout=httpx.Timeout(patience),
                most_tries=2,
            )
            stack.callback(registries.close)
            said: list[str] = []
            events: list[Event] = []
            sent = threading.Event()
            tags = LeaseTags(
                repository=registries.registry(Reference.parse(cache)),
                seal=seal,
                verify=verify,
                distrust=said.append,
            )
            journal = Journal(listeners=[events.append])
            held = Leases(
                tags=tags,
                journal=journal,
                report=said.append,
                before_waiting=sent.set,
                timing=timing,
            )
            stack.callback(held.close)
            return Builder(leases=held, records=records, said=said, events=events, sent=sent)

        yield make


def leases(cache: str) -> list[str]:
    """The tags of leases that a repository has."""
    host, _, repository = cache.partition("/")
    found = httpx.get(f"http://{host}/v2/{repository}/tags/list").json().get("tags") or []
    return [tag for tag in found if tag.startswith("l-")]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Conditional(BaseHTTPRequestHandler):
    """Manifests under tags with the preconditions of RFC 9110, sections 13.1.1 and 13.1.2."""

    protocol_version = "HTTP/1.1"
    documents: ClassVar[dict[str, bytes]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self) -> None:
        found = self.documents.get(self.path)
        self.answer(404 if found is None else 200, found or b"")

    def do_HEAD(self) -> None:
        self.answer(200)  # the empty blob

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            found = self.documents.get(self.path)
            tag = None if found is None else f'"{digest_bytes(found)}"'
            wanted = self.headers.get("If-Match", tag)
            if wanted != tag or (self.headers.get("If-None-Match") == "*" and tag is not None):
                self.answer(412)
                return
            self.documents[self.path] = data
        self.answer(201)

    def do_DELETE(self) -> None:
        with self.lock:
            for path, data in list(self.documents.items()):
                if digest_bytes(data) == self.path.rpartition("/")[2]:
                    del self.documents[path]
        self.answer(202)

    def answer(self, status: int, data: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Forgetful(Conditional):
    """Accepts everything and keeps nothing."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201)


@contextlib.contextmanager
def answering(handler: type[Conditional]) -> Iterator[str]:
    handler.documents = {}
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield f"127.0.0.1:{port}/cache"


def build_at_once(builders: list[Builder]) -> int:
    """Have machines ask for a key at the same time; how many of them build it."""
    built: list[Builder] = []

    def run(each: Builder) -> None:
        if not each.wait():
            built.append(each)
            time.sleep(0.1)
            each.records.add(TAG)
            each.leases.end(TAG)

    with ThreadPoolExecutor(len(builders)) as pool:
        list(pool.map(run, builders))
    return len(built)


def test_one_of_many_builds(builder: Callable[..., Builder], cache: str) -> None:
    machines = [builder(cache, Timing()) for _ in range(6)]
    built = build_at_once(machines)
    assert [each.said for each in machines] == [[]] * 6
    assert built == 1
    for each in machines:
        each.leases.close()
    assert leases(cache) == []


def test_preconditions_are_used_where_the_registry_honours_them(
    builder: Callable[..., Builder], cache: str
) -> None:
    never = replace(QUICK, settle=BOUND, late=BOUND)
    with answering(Conditional) as honouring:
        for place, expected in ((honouring, True), (cache, False)):
            probing = builder(place)
            assert not probing.wait("k-" + "2" * 64)
            until(lambda turns=probing.leases: turns.tags.is_conditional is not None)  # type: ignore[misc]
            assert probing.leases.tags.is_conditional is expected
            probing.leases.close()
        machines = [builder(honouring, never) for _ in range(6)]
        for each in machines:
            each.leases.tags.is_conditional = True
        assert build_at_once(machines) == 1
        assert not any(each.leases.is_used and each.said for each in machines)
        for each in machines:
            each.leases.close()
        assert Conditional.documents == {}


def test_a_dead_holder_is_replaced(builder: Callable[..., Builder], cache: str) -> None:
    dead, heir = builder(cache, replace(QUICK, valid=3.0)), builder(cache)
    assert not dead.wait()
    dead.leases._give_up("killed")  # as SIGKILL does: it neither renews nor gives back
    assert not heir.wait()
    assert [event.name for event in heir.events] == ["cache: wait for another machine: a step"] * 2
    assert heir.said == []


def test_a_lease_is_renewed(builder: Callable[..., Builder], cache: str) -> None:
    holder = builder(cache, replace(QUICK, valid=0.3, check=0.1))
    assert not holder.wait()
    until(lambda: (found := holder.leases.tags.read(TAG).lease) is not None and found.number > 2)


def test_who_waits_takes_the_record_once_it_is_sent(
    builder: Callable[..., Builder], cache: str
) -> None:
    holder, other = builder(cache), builder(cache)
    assert not holder.wait()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.wait)
        holder.leases.keep([TAG])
        holder.leases.end(TAG)
        assert other.sent.wait(BOUND)  # what the holder may wait for
        assert len(leases(cache)) == 1
        assert not waiting.done()
        holder.records.add(TAG)
        holder.leases.end(TAG, is_sent=True)
        assert waiting.result(BOUND)


def test_a_lease_whose_record_is_on_its_way_is_seldom_looked_at(
    builder: Callable[..., Builder], cache: str
) -> None:
    holder = builder(cache, replace(QUICK, valid=20 * BOUND, check=0.05))
    assert not holder.wait()
    held = holder.leases._held[TAG]
    assert held.due - time.monotonic() < BOUND
    holder.leases.keep([TAG])
    until(lambda: held.due - time.monotonic() > BOUND)


def test_who_gives_up_is_not_replaced_one_by_one(
    builder: Callable[..., Builder], cache: str
) -> None:
    """A step that fails fails on all machines at the same time, as without leases."""
    holder, *others = (builder(cache) for _ in range(4))
    assert not holder.wait()
    with ThreadPoolExecutor(len(others)) as pool:
        waiting = [pool.submit(each.wait) for each in others]
        until(lambda: all(each.events for each in others))
        holder.leases.end(TAG)
        assert [each.result(BOUND) for each in waiting] == [False] * 3
    assert leases(cache) == []


def test_a_holder_puts_its_lease_back(builder: Callable[..., Builder], cache: str) -> None:
    """Who was too slow to write finds out that somebody has the lease."""
    holder, slow = builder(cache), builder(cache)
    seen = slow.leases.tags.read(TAG)
    assert not holder.wait()
    with ThreadPoolExecutor(1) as pool:
        time.sleep(QUICK.settle)
        claim = pool.submit(slow.leases._claim, slow.wanted(), seen, slow.cancel)
        assert claim.result(BOUND) is False
    found = holder.leases.tags.read(TAG).lease
    assert found is not None
    assert found.holder == holder.leases._held[TAG].lease.holder


def test_the_next_step_of_a_chain_is_not_delayed(
    builder: Callable[..., Builder], cache: str
) -> None:
    machine = builder(cache)
    assert not machine.wait()
    machine.leases.timing = replace(QUICK, settle=10 * BOUND, late=10 * BOUND)
    above = "k-" + "2" * 64
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(machine.wait, above, (TAG,)).result(BOUND) is False
    assert sorted(leases(cache)) == sorted(map(lease_tag, (TAG, above)))


def test_a_claim_is_prepared_while_it_is_not_sure(
    builder: Callable[..., Builder], cache: str
) -> None:
    machine = builder(cache)
    seen: list[Lease | None] = []
    prepared = replace(
        machine.wanted(), prepare=lambda: seen.append(machine.leases.tags.read(TAG).lease)
    )
    assert not machine.leases.wait(prepared, machine.cancel)
    assert [lease is not None and not lease.is_sure for lease in seen] == [True]
    # A step on top of it has nothing to wait for.
    above = replace(prepared, tag="k-" + "2" * 64, below=(TAG,))
    assert not machine.leases.wait(above, machine.cancel)
    assert len(seen) == 1


def test_a_claim_that_is_cancelled_is_given_back(
    builder: Callable[..., Builder], cache: str
) -> None:
    machine = builder(cache, replace(QUICK, settle=BOUND, late=BOUND))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(machine.wait)
        until(lambda: leases(cache) != [])
        machine.cancel.set()
        with pytest.raises(Cancelled):
            waiting.result(BOUND)
    until(lambda: leases(cache) == [])


def test_without_deletions_a_lease_says_that_it_is_released(
    builder: Callable[..., Builder], tmp_path: Path
) -> None:
    (tmp_path / "keeping").mkdir()
    with serving(tmp_path / "keeping", deletes=False) as address:
        first, second = builder(f"{address}/cache"), builder(f"{address}/cache")
        assert not first.wait()
        first.leases.end(TAG)
        first.leases.close()
        found = second.leases.tags.read(TAG).lease
        assert found is not None
        assert found.is_released
        assert not second.wait()
        assert second.events == []
        second.leases.close()


def test_a_lease_that_is_not_believed_delays_nobody(
    builder: Callable[..., Builder], cache: str, tmp_path: Path
) -> None:
    own, foreign = Key.make(tmp_path, "own").trust(), Key.make(tmp_path, "foreign").trust()

    def verify(envelope: Envelope) -> Lease:
        own.check_signature(envelope)
        return parse_lease(envelope.payload)

    believer = builder(cache, seal=own.seal, verify=verify)
    for seal in (plain, foreign.seal):
        stranger = builder(cache, seal=seal)
        assert not stranger.wait()
        stranger.leases._give_up("it is killed")
        assert not believer.wait()
        believer.leases.end(TAG)
        until(lambda: TAG not in believer.leases._held)
    assert believer.events == []
    assert len(set(believer.said)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"tag": "k-" + "2" * 64},
        {"repository": "cache/other"},
    ],
)
def test_the_lease_of_another_key_is_not_believed(
    builder: Callable[..., Builder], cache: str, change: dict[str, str]
) -> None:
    machine = builder(cache)
    own = Lease(tag=TAG, repository=cache.partition("/")[2], holder="x", seconds=60, made=0)
    forged = replace(own, **change)  # type: ignore[arg-type]
    tags = machine.leases.tags
    tags.seal = lambda _, kind: plain(forged.payload(), kind)
    while not tags.write(own):
        pass
    assert tags.read(TAG).lease is None
    assert machine.said == ["it is the lease of another key"]


def test_a_registry_that_forgets_delays_for_a_limited_time(
    builder: Callable[..., Builder],
) -> None:
    with answering(Forgetful) as place:
        machine = builder(place)
        assert not machine.wait()
    assert len(machine.said) == 1
    assert "does not keep the lease" in machine.said[0]


def test_nobody_waits_for_ever(builder: Callable[..., Builder], cache: str) -> None:
    holder, other = builder(cache), builder(cache, replace(QUICK, patience=0.5))
    assert not holder.wait()
    assert not other.wait()
    assert "no machine has built 'a step'" in other.said[0]


def test_a_registry_that_does_not_answer_is_asked_once(
    builder: Callable[..., Builder], stalled: str
) -> None:
    machine = builder(f"{stalled}/cache", patience=0.5)
    assert not machine.wait()
    assert not machine.leases.is_used
    assert not machine.wait("k-" + "2" * 64)
    assert len(machine.said) == 1


def test_a_slow_registry_is_left_alone(builder: Callable[..., Builder], cache: str) -> None:
    machine = builder(cache, replace(QUICK, budget=-1.0))
    assert not machine.wait()
    assert not machine.leases.is_used
    assert len(machine.said) == 1


LEASE_OF_A = Lease(tag=TAG, repository="x", holder="a", seconds=10, renewed=1000.0, made=1000)


def test_a_copy_of_an_older_text_is_not_a_sign_of_life() -> None:
    watch = Watch()
    newer, foreign = replace(LEASE_OF_A, number=5), replace(LEASE_OF_A, holder="b", number=3)
    assert watch.is_alive(newer, None, 0.0)
    assert watch.is_alive(foreign, None, 1.0)
    for now in (4.0, 8.0, 11.0):
        assert watch.is_alive(newer, None, now)
        assert watch.is_alive(foreign, None, now)
    assert not watch.is_alive(newer, None, 11.5)
    assert not watch.is_alive(foreign, None, 11.5)
    assert watch.is_alive(replace(newer, number=6), None, 12.0)


def test_the_clock_of_the_registry_tells_that_a_holder_is_dead() -> None:
    assert Watch().is_alive(LEASE_OF_A, 1005.0, 0.0)
    assert Watch().is_alive(LEASE_OF_A, 500.0, 0.0)
    assert not Watch().is_alive(LEASE_OF_A, 1012.0, 0.0)
    assert Watch().is_alive(replace(LEASE_OF_A, renewed=0.0), 1012.0, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"format": 2}',
        LEASE_OF_A.payload().replace(b'"seconds":10', b'"seconds":"x"'),
        LEASE_OF_A.payload().replace(b'"seconds":10', b'"seconds":-1'),
        LEASE_OF_A.payload().replace(b'"number":0', b'"number":null'),
        LEASE_OF_A.payload().replace(b'"renewed":1000.0', b'"renewed":1e999'),
    ],
)
def test_an_invalid_lease_is_refused(text: bytes) -> None:
    with pytest.raises(ArchiveInvalid):
        parse_lease(text)


def test_nobody_can_hold_a_lease_for_long_without_renewing_it() -> None:
    assert parse_lease(replace(LEASE_OF_A, seconds=10**9).payload()).seconds <= 60
    assert LEASE.endswith("lease.v1+json")


@pytest.mark.privileged
@pytest.mark.usefixtures("overlay")
async def test_of_two_machines_one_starts_the_containers(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    made: list[object] = []
    query = CHAIN % (UUID, 'file(path: "/made") { contents }')

    async def run(machine: Machine) -> None:
        made.append(await machine.run(rootfs, query))

    async with anyio.create_task_group() as group:
        for machine in machines:
            machine.mode = "read,write"
            group.start_soon(run, machine)
    assert sum(len(machine.containers()) for machine in machines) == 2
    assert made[0] == made[1]


@pytest.mark.privileged
@pytest.mark.usefixtures("overlay")
async def test_files_are_fetched_before_a_claim_is_sure(
    machines: tuple[Machine, Machine], rootfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machines
    await first.run(rootfs, CHAIN % (UUID, "stdout"))
    second.mode = "read,write"
    pauses: list[float] = []

    def sleep(seconds: float, _cancel: threading.Event) -> None:
        until(lambda: second.unpacked() != [])
        pauses.append(seconds)

    monkeypatch.setattr(module_of_leases, "_sleep", sleep)
    changed = CHAIN.replace("echo more", "echo other") % (UUID, "stdout")
    await second.run(rootfs, changed)
    assert len(second.containers()) == 1
    assert len(pauses) == 1


@pytest.mark.slow
@pytest.mark.privileged
@pytest.mark.usefixtures("overlay")
def test_a_killed_process_is_replaced(tmp_path: Path, cache: str, rootfs: Path) -> None:
    with clients(tmp_path, cache, rootfs, "one", number=4, seconds=2, valid=3) as running:
        victim = first_to_start(running, BOUND)
        victim.process.kill()
        said = [client.wait() for client in running if client is not victim]
    assert sum(lines.count("done") for lines in said) == 1
    assert sum(lines.count("started") for lines in said) == 1
    assert len({lines[-1] for lines in said}) == 1
    home = tmp_path / victim.output.stem
    with clients(home, cache, rootfs, "other", number=1, seconds=0, valid=3) as [again]:
        again.wait()


@pytest.mark.privileged
@pytest.mark.usefixtures("overlay")
async def test_a_step_gives_its_lease_back(
    machines: tuple[Machine, Machine], rootfs: Path, cache: str
) -> None:
    first, _ = machines
    await first.run(rootfs, CHAIN % (UUID, "exitCode"))
    assert leases(cache) == []
    with pytest.raises(ExceptionGroup):
        await first.run(rootfs, CHAIN % (UUID, 'withExec(args: ["cat", "/none"]) { stdout }'))
    assert leases(cache) == []
    assert first.warnings() == []
