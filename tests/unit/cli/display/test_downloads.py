"""What a step downloads: as its installer says it, and as far as it has come."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from layerline.cli.display.downloads import Downloads
from layerline.cli.display.json_lines import JsonLines
from layerline.cli.display.progress import PlainLines
from layerline.cli.display.step_tree import Folded
from layerline.engine.image.meter import Meter
from layerline.engine.runtime.traffic import received_in
from layerline.log import Event, Journal

if TYPE_CHECKING:
    from collections.abc import Callable


def received(count: int, expected: int = 0, step: int = 1) -> Event:
    return Event(step=step, name="step", time=0.0, received=count, expected=expected)


@pytest.mark.parametrize(
    ("lines", "total", "running"),
    [
        # uv's reporter, where it writes to no terminal.
        (["Downloading torch (190.5MiB)"], 199_753_728, True),
        (["Downloading a (1.0KiB)", " Downloaded a"], 1024, False),
        (["Resolved 3 packages"], 0, False),
        # apt-get install: of what is wanted, a part may be in its cache.
        (["Need to get 1,036 kB of archives."], 1_036_000, True),
        (["Need to get 12.5 MB/28.4 MB of archives."], 12_500_000, True),
        (["Need to get 5 B of archives.", "Fetched 5 B in 0s (9 B/s)"], 5, False),
        (
            ["Fetched 9422 kB in 5s (2019 kB/s)", "Need to get 14.4 MB of archives."],
            14_400_000,
            True,
        ),
        (["Need to get 0 B/28.4 MB of archives."], 0, True),
    ],
)
def test_what_is_wanted_is_read_from_lines_of_installers(
    lines: list[str], total: int, *, running: bool
) -> None:
    downloads = Downloads()
    assert all(map(downloads.read, lines)) is not lines[0].startswith("Resolved")
    assert (downloads.total, downloads.running) == (total, running)


def test_a_wheel_that_comes_counts_before_it_is_complete() -> None:
    downloads = Downloads()
    downloads.take(received(400_000))  # of the index, before the first wheel
    downloads.read("Downloading jaxlib (100.0MiB)")
    assert downloads.line(0.0).endswith("0 B of 104.9 MB")
    downloads.take(received(20_400_000))
    assert downloads.line(2.0) == ("━━━─────────────────  20.0 MB of 104.9 MB, 10.0 MB/s, 8 s left")
    downloads.take(received(999_000_000))
    assert "104.9 MB of 104.9 MB" in downloads.line(3.0)
    downloads.read(" Downloaded jaxlib")
    assert not downloads.running


def test_a_rate_is_that_of_the_last_seconds() -> None:
    downloads = Downloads()
    downloads.take(received(90_000_000, expected=100_000_000))
    for now in (0.0, 4.0, 8.0):
        assert "/s" not in downloads.line(now)
    downloads.take(received(92_000_000, expected=100_000_000))
    assert downloads.line(10.0).endswith("92.0 MB of 100.0 MB, 1.0 MB/s, 8 s left")


def test_a_sum_that_nobody_knows_has_no_bar() -> None:
    downloads = Downloads()
    downloads.take(received(0))
    assert downloads.line(0.0) == ""
    downloads.take(received(8_000_000))
    assert downloads.line(2.0) == "8.0 MB received, 4.0 MB/s"


def test_an_image_that_is_pulled_is_counted_exactly() -> None:
    seen: list[tuple[int, int]] = []
    meter = Meter(report=lambda moved, expected: seen.append((moved, expected)), expected=9000)
    one, other = meter.watch("one"), meter.watch("other")
    for count in range(100, 4600, 100):
        one(count)
        other(count)
    assert seen[0] == (100, 9000)
    assert seen[-1] == (9000, 9000)
    assert len(seen) < 90  # a few in a second


def test_counters_are_those_of_proc_net_dev() -> None:
    """proc_net_dev(5): two lines of titles, then name, colon and received bytes first."""
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n"
        "    lo:    9000      10    0    0    0     0          0         0     9000      10\n"
        "  eth0:123456      80    0    0    0     0          0         0     7000      50\n"
    )
    assert received_in(text) == 123456


def journal_with(listener: Callable[[Event], None]) -> Journal:
    journal = Journal(listeners=[listener])
    with journal.step("from debian") as step:
        step.report(5, 10)
    step.report(7, 10)  # it has ended
    return journal


def test_json_has_the_bytes_and_lines_have_not() -> None:
    written: list[str] = []
    journal_with(JsonLines(written.append))
    events: list[dict[str, Any]] = [json.loads(line) for line in written]
    assert [event.get("received") for event in events] == [None, 5, None]
    assert events[1]["expected"] == 10
    lines: list[str] = []
    journal_with(Folded(PlainLines(lines.append)))
    assert len(lines) == 1
