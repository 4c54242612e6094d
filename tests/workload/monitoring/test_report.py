"""evidently's page with our verdicts, and our numbers against evidently's."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest

from ct_scan_mlops.monitoring import report, statistics
from ct_scan_mlops.monitoring.comparison import Rule, compare
from ct_scan_mlops.monitoring.journal import Window
from ct_scan_mlops.monitoring.reference import Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ct_scan_mlops.settings import DriftSettings
    from tests.workload.monitoring.conftest import Serving, Source

pytest.importorskip("evidently")
pd = pytest.importorskip("pandas")
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


def test_only_the_features_that_differ_most_are_shown() -> None:
    names = tuple(f"f{number}" for number in range(80))
    values = RNG.normal(size=(60, 80))
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


@pytest.mark.anyio
async def test_a_report_that_takes_too_long_is_given_up(
    serving: Serving, settings: DriftSettings, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "LONGEST_SECONDS", 0.5)
    async with serving(settings) as client:
        await client.post("/observations", json=source.observations(60, seed=1))
        with anyio.fail_after(6):
            answer = await client.get("/report")
    assert answer.status_code == 503
    assert "in time" in answer.json()["error"]


def evidently_test(name: str, reference: object, observed: object, kind: str) -> float:
    from evidently.legacy.calculations import stattests
    from evidently.legacy.core import ColumnType

    test = getattr(stattests, name)
    return float(
        test(pd.Series(reference), pd.Series(observed), ColumnType(kind), 0.05).drift_score
    )


def test_evidentlys_ks_is_ours() -> None:
    reference, observed = RNG.normal(size=300), RNG.normal(0.2, 1, size=100)
    _, p_value = statistics.kolmogorov_smirnov(reference, observed)
    assert evidently_test("ks_stat_test", reference, observed, "num") == pytest.approx(p_value)


def test_evidentlys_psi_of_our_bins_is_ours() -> None:
    before, now = statistics.binned(RNG.normal(size=300), RNG.normal(0.5, 1, size=200))
    bins = np.arange(len(before))
    theirs = evidently_test(
        "psi_stat_test",
        np.repeat(bins, before.astype(int)),
        np.repeat(bins, now.astype(int)),
        "cat",
    )
    assert statistics.psi(before, now) == pytest.approx(theirs)


def test_one_value_of_a_billion_hides_a_drift_from_evidentlys_psi() -> None:
    """The reason for bins of our own."""
    reference, observed = RNG.normal(size=500), RNG.normal(1, 1, size=200)
    assert evidently_test("psi_stat_test", reference, observed, "num") > 0.5
    observed[0] = 1e9
    assert evidently_test("psi_stat_test", reference, observed, "num") < 0.1
    assert statistics.psi(*statistics.binned(reference, observed)) > 0.5


def test_evidentlys_mmd_reports_drift_on_equal_data() -> None:
    """The reason for a permutation test of our own."""
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import mmd

    theirs, ours = 0, 0
    for _ in range(5):
        reference, observed = RNG.normal(size=(60, 4)), RNG.normal(size=(60, 4))
        _, drifted, _ = mmd(bootstrap=True)(pd.DataFrame(observed), pd.DataFrame(reference))
        theirs += bool(drifted)
        ours += statistics.maximum_mean_discrepancy(reference, observed)[1] <= 0.05
    assert theirs >= 4
    assert ours <= 1
