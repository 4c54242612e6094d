"""What a cache in a registry costs the machine that writes, and what it saves the one that reads.

    .venv/bin/python -m benchmarks.registry_cache [--rounds N] [--delay MILLISECONDS]

Debian's docker-registry runs on loopback, with the base image in it. The step is that of
`benchmarks.manifests`. Builds without a cache and builds that write take turns, each with an empty
store and an empty repository. Then another store publishes the same image to the same registry,
through a relay that counts bytes and can delay them.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import socket
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.manifests import STEP
from benchmarks.measure import ROOT, processor_seconds
from layerline import command
from layerline.engine.cache.shared import SharedCache
from layerline.engine.store.digest import digest_of
from layerline.engine.store.store import Store
from layerline.log import Journal
from layerline.settings import Settings, process_environ
from tests import images, registry

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 1000
BASE = "debian:bookworm-slim"


@dataclass(kw_only=True)
class Relay:
    """The bytes that went through a relay."""

    address: str = ""
    up: int = 0
    down: int = 0


@contextlib.contextmanager
def relay(target: str, delay: float) -> Iterator[Relay]:
    """Pass connections on to an address; each byte comes `delay` seconds later, both ways."""
    host, _, port = target.partition(":")
    counted = Relay()
    with socket.create_server(("127.0.0.1", 0)) as server:
        counted.address = f"127.0.0.1:{server.getsockname()[1]}"
        serve = threading.Thread(target=_accept, args=(server, (host, int(port)), delay, counted))
        serve.daemon = True
        serve.start()
        yield counted


def _accept(server: socket.socket, place: tuple[str, int], delay: float, counted: Relay) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:  # the end of the block
            return
        far = socket.create_connection(place)
        for source, sink, name in ((near, far, "up"), (far, near, "down")):
            waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
            for work in (
                lambda a=source, q=waiting, n=name: _receive(a, q, delay, counted, n),
                lambda b=sink, q=waiting: _send(b, q),
            ):
                threading.Thread(target=work, daemon=True).start()


def _receive(
    source: socket.socket,
    waiting: queue.Queue[tuple[float, bytes]],
    delay: float,
    counted: Relay,
    name: str,
) -> None:
    data = b"first"
    while data:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        setattr(counted, name, getattr(counted, name) + len(data))
        waiting.put((time.monotonic() + delay, data))


def _send(sink: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
    while True:
        when, data = waiting.get()
        time.sleep(max(0.0, when - time.monotonic()))
        try:
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
        except OSError:
            return


@dataclass(kw_only=True)
class Ended:
    """How long a command took, by the clock and of processors, and what it said."""

    seconds: float
    processor: float
    said: str

    @property
    def containers(self) -> int:
        """How many containers it ran."""
        lines = [line for line in self.said.splitlines() if " withExec " in line]
        return sum("DONE" in line for line in lines)


def build(store: Path, mirror: str, target: str, *, cache: str = "", mode: str = "read") -> Ended:
    """Build the image with a store and publish it."""
    own = {
        "LAYERLINE_STORE": str(store),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{mirror}",
        "LAYERLINE_CACHE": cache,
        "LAYERLINE_CACHE_MODE": mode,
        "PYTHONPATH": str(ROOT / "src"),
    }
    chain = ("container", "from", f"--address={BASE}", "with-exec", f"--args=sh,-c,{STEP}")
    argv = [sys.executable, "-m", "layerline", "core", "-v", "--progress=plain", *chain]
    began, before = time.monotonic(), processor_seconds()
    done = command.run([*argv, "publish", f"--address={target}"], env={**process_environ(), **own})
    return Ended(
        seconds=time.monotonic() - began,
        processor=processor_seconds() - before,
        said=done.stderr.decode(),
    )


def measure_writing(place: Path, address: str, rounds: int) -> str:
    """Print what writing adds to a first build; the repository that the last one wrote."""
    ends: dict[bool, list[Ended]] = {False: [], True: []}
    cache = ""
    for number in range(rounds):
        for writes in (number % 2 == 0, number % 2 == 1):
            with tempfile.TemporaryDirectory(dir=place) as name:
                cache = f"{address}/cache/round-{number}" if writes else ""
                target = f"{address}/images/{number}-{writes}".lower()
                ended = build(Path(name, "store"), address, target, cache=cache, mode="read,write")
                ends[writes].append(ended)
    for what, of in (("first build", _clock), ("  of processors", _processor)):
        times = {writes: [of(ended) for ended in found] for writes, found in ends.items()}
        without, with_it = (statistics.median(times[writes]) for writes in (False, True))
        more = (with_it / without - 1) * 100
        print(f"{what}: {without:.2f} s without, {with_it:.2f} s writing: {more:+.1f} %")
        print(f"    each: {_seconds(times[False])} without, {_seconds(times[True])} writing")
    return f"{address}/cache/round-{rounds - 1}"


def measure_misses(place: Path, cache: str, delay: float) -> None:
    """Print what a key costs that nobody has."""
    environ = {"HOME": str(place), "LAYERLINE_STORE": str(place / "misses")}
    with relay(cache.partition("/")[0], delay) as relayed:
        far = f"{relayed.address}/{cache.partition('/')[2]}"
        settings = Settings.from_environ({**environ, "LAYERLINE_CACHE": far})
        with Store.open(settings.store) as store:
            for listed in (True, False):
                with SharedCache.open(store, settings, Journal()) as shared:
                    assert shared is not None
                    if not listed:
                        shared.places[0].listing = Future()
                        shared.places[0].listing.set_result(None)
                    began = time.monotonic()
                    for number in range(KEYS):
                        shared.find("result", digest_of(["nobody", listed, number]))
                    each = (time.monotonic() - began) / KEYS * 1000
                    how = "with a list of the tags" if listed else "each asked for"
                    print(f"miss, {how}: {each:.2f} ms a key ({KEYS} keys one after the other)")


def measure_reading(place: Path, cache: str, delay: float) -> None:
    """Print what another machine needs for the same image."""
    address, _, repository = cache.partition("/")
    with relay(address, delay) as relayed:
        far = f"{relayed.address}/{repository}"
        target = f"{relayed.address}/images/second"
        ended = build(place / "second", address, target, cache=far)
        print(
            f"second machine: publish in {ended.seconds:.2f} s, {ended.containers} containers, "
            f"{relayed.up / 1000:.0f} kB up, {relayed.down / 1000:.0f} kB down"
        )


def _clock(ended: Ended) -> float:
    return ended.seconds


def _processor(ended: Ended) -> float:
    return ended.processor


def _seconds(times: list[float]) -> str:
    return ", ".join(f"{each:.1f}" for each in times)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure a cache in a registry.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.0, help="of the relay, in milliseconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="layerline-benchmark-") as name:
        place = Path(name)
        (place / "registry").mkdir()
        with registry.serving(place / "registry") as address:
            images.serve(address, images.cache_directory(process_environ()))
            cache = measure_writing(place, address, given.rounds)
            measure_misses(place, cache, given.delay / 1000)
            measure_reading(place, cache, given.delay / 1000)


if __name__ == "__main__":
    main()
