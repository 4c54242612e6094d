"""Output of programs: as fast as pipes are read, in bounded memory, however it is cut."""

from __future__ import annotations

import contextlib
import random
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.cli.display.progress import PlainLines
from layerline.engine.runtime.spec import Output
from layerline.engine.runtime.stdio import STDERR, STDOUT, Sinks, follow
from layerline.log import Journal
from layerline.scrub import Scrubber

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
LINE = b"a line of a build's log, with a path: /usr/lib/python3/dist-packages/module.py\n"
WRITER = """
import pathlib, sys
size = int(sys.argv[1])
piece = pathlib.Path(sys.argv[2]).read_bytes()
while size > 0:
    size -= sys.stdout.buffer.write(piece)
"""


def measure(tmp_path: Path, piece: bytes, size: int, secrets: list[bytes]) -> tuple[float, int]:
    """MiB a second of this process's time, and the most memory that Python held.

    Everything on the way of an exec's output takes part: scrubbing, both stores, progress, the log.
    """
    files = [(tmp_path / name).open("w", buffering=1) for name in ("log", "stderr")]
    journal = Journal(listeners=[PlainLines(file.write) for file in files])
    (tmp_path / "piece").write_bytes(piece * (MIB // len(piece)))
    argv: list[str | Path] = [sys.executable, "-c", WRITER, str(size), tmp_path / "piece"]
    process = command.start(argv, stdout=command.PIPE, stderr=command.PIPE)
    sinks = Sinks(
        outputs={stream: Output(tmp_path) for stream in (STDOUT, STDERR)},
        combined=Output(tmp_path),
        redirects={},
        listener=lambda data, stream: step.write(data, stream),  # noqa: PLW0108 - made below
    )
    began = time.process_time()
    tracemalloc.start()
    try:
        with journal.step("withExec") as step:
            follow(process, sinks, secrets, on_tick=lambda: None)
        seconds = time.process_time() - began
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for file in files:
            file.close()
    assert sinks.outputs[STDOUT].size > size // 2
    close(sinks)
    return size / MIB / seconds, peak


PIECES = {"lines": LINE, "tiny lines": b"y\n", "one line": b"x", "no text": bytes(range(256))}


@pytest.mark.parametrize("kind", PIECES)
def test_output_is_taken_at_100_mib_a_second(tmp_path: Path, kind: str) -> None:
    speed, peak = measure(tmp_path, PIECES[kind], 48 * MIB, [])
    assert speed > 100 / 2, "half of what holds without tracing of memory"
    assert peak < 16 * MIB


@pytest.mark.parametrize("count", [1, 20])
def test_output_is_scrubbed_at_20_mib_a_second(tmp_path: Path, count: int) -> None:
    chance = random.Random(count)
    secrets = [chance.randbytes(chance.choice([12, 40, 2000])).hex().encode() for _ in range(count)]
    speed, peak = measure(tmp_path, LINE * 50 + secrets[0] + b"\n", 16 * MIB, secrets)
    assert speed > 20
    assert peak < 16 * MIB


def test_a_secret_at_every_place_does_not_make_output_slow() -> None:
    scrubber = Scrubber([b"secret", *(b"other%d" % number for number in range(20))])
    began = time.process_time()
    assert scrubber.feed(b"secret" * 100_000) == b"***" * 100_000
    assert time.process_time() - began < 1.0


def close(sinks: Sinks) -> None:
    for output in (*sinks.outputs.values(), sinks.combined):
        output.close()


@contextlib.contextmanager
def written(tmp_path: Path, *pieces: tuple[int, bytes]) -> Iterator[Sinks]:
    sinks = Sinks(
        outputs={stream: Output(tmp_path) for stream in (STDOUT, STDERR)},
        combined=Output(tmp_path),
        redirects={},
        listener=lambda _data, _stream: None,
    )
    for stream, data in pieces:
        sinks.write(data, stream)
    yield sinks
    close(sinks)


def read(sinks: Sinks) -> list[bytes]:
    return [output.read() for output in (*sinks.outputs.values(), sinks.combined)]


@pytest.mark.parametrize("size", [1, 3 * MIB])
def test_both_streams_are_kept_in_their_order(tmp_path: Path, size: int) -> None:
    a, b, c = b"a" * size, b"b" * size, b"c" * size
    pieces = ((STDOUT, a), (STDERR, b), (STDOUT, c), (STDOUT, a))
    with written(tmp_path, *pieces) as sinks:
        assert read(sinks) == [a + c + a, b, a + b + c + a]
    with written(tmp_path, (STDERR, a), (STDERR, b), (STDOUT, c)) as sinks:
        assert read(sinks) == [c, a + b, a + b + c]


def test_what_only_one_stream_got_is_stored_once(tmp_path: Path) -> None:
    for stream in (STDOUT, STDERR):
        with written(tmp_path, (stream, b"a"), (stream, b"b")) as sinks:
            assert read(sinks)[2] == b"ab"
            assert sinks.combined.size == 2
            assert sinks.combined.tail(1) == b"b"
            assert sinks.combined.is_copy(sinks.outputs[stream])


def test_reading_between_writes_loses_nothing(tmp_path: Path) -> None:
    output = Output(tmp_path)
    for _ in range(3):
        output.write(b"ab")
        assert output.read(1) == b"a"
        assert output.tail(1) == b"b"
    assert output.read() == b"ababab"
    output.close()
