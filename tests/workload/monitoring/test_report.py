"""evidently's page with our verdicts, and our numbers against evidently's."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ct_scan_mlops.monitoring import report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.workload.monitoring.conftest import Source

pytest.importorskip("evidently")
RNG = np.random.default_rng(7)


class Links(HTMLParser):
    """Collects whatever a browser would fetch for the page."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style"
        self.fetched += [f"{tag} {key}={value}" for key, value in attrs if key in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        if self.style:
            self.fetched += re.findall(r"@import.*|url\((?!data:).*", data)


def table(values: NDArray[np.float64]) -> report.Table:
    names = tuple(f"f{number}" for number in range(values.shape[1]))
    return report.Table(names=names, values=values)


@pytest.fixture(scope="module")
def connections() -> list[str]:
    """Every address that this process tries to reach from here on; a hook cannot be taken away."""
    reached: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"socket.connect", "socket.getaddrinfo"}:
            reached.append(repr(arguments))

    sys.addaudithook(watch)
    return reached


@pytest.fixture(scope="module")
def page(connections: list[str]) -> str:
    before = RNG.normal(size=(300, 4))
    now = RNG.normal(size=(100, 4))
    before[:, 2] = now[:, 2] = 5.0
    now[0, 3] = 1e9
    verdicts = {f"f{n}": report.Verdict(psi=n + 0.25, drifted=n == 1) for n in range(4)}
    made = report.render(table(before), table(now), verdicts, "1 of 4 <features>")
    assert connections == []
    return made


def test_the_page_fetches_nothing(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.fetched == []


def test_the_page_has_our_verdicts(page: str) -> None:
    assert "<body><p>1 of 4 &lt;features&gt;</p>" in page
    assert "Drift is detected for 25.0% of columns (1 out of 4)" in page
    for psi in ("0.25", "1.25", "2.25", "3.25"):
        assert psi in page


def test_only_the_features_that_differ_most_are_shown(source: Source) -> None:
    del source
    names = tuple(f"f{number}" for number in range(80))
    values = RNG.normal(size=(60, 80))
    from ct_scan_mlops.monitoring.comparison import Rule, compare
    from ct_scan_mlops.monitoring.journal import Window
    from ct_scan_mlops.monitoring.reference import Reference

    reference = Reference(names=names, values=values, embeddings=None, identity="x")
    moved = values.copy()
    moved[:, 79] += 3
    window = Window(received=60, features=moved, embeddings=np.zeros((0, 0), dtype=np.float32))
    drift = compare(reference, window, Rule(alpha=0.01, psi_threshold=0.1, least=50))
    before, now, verdicts, summary = report._shown(reference, window, drift)
    assert before.names[0] == "f79"
    assert before.values.shape == now.values.shape == (60, report.MOST_FEATURES)
    assert verdicts["f79"].drifted
    assert "1 of 80 features have drifted" in summary
