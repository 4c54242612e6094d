"""The report for people: evidently's page with its charts, and our verdicts in it.

evidently takes ten seconds and 300 MB to load. So it lives in a process of its own, which is
started for the first report, kept for the next ones, ended by anyio after five idle minutes or
with the service, and killed when a report takes too long. It is told our PSI and verdict for each
feature as a test of its own kind, so that the page and /drift cannot disagree.

The page is self-contained: styles, fonts and scripts are in it. evidently's telemetry is in its
server and its collector, neither of which is loaded here; a test watches that no connection is
opened.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.to_process

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from ct_scan_mlops.monitoring.comparison import Drift
    from ct_scan_mlops.monitoring.journal import Window
    from ct_scan_mlops.monitoring.reference import Reference

    Floats: TypeAlias = NDArray[np.float64]

# A page has 60 kB for a feature.
MOST_FEATURES = 50
MOST_ROWS = 5000
LONGEST_SECONDS = 150.0
TEST = "ct_scan_drift"

# What enforces in the browser that the page is self-contained.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "font-src data:; img-src data: blob:; base-uri 'none'; form-action 'none'"
)

NOT_ENOUGH = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Drift</title>
<h1>Not enough observations yet</h1>
<p>There are {observations} of the {least} that a comparison needs.</p></html>
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Columns of one side of the comparison."""

    names: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the page says of a feature."""

    psi: float
    drifted: bool


@dataclass(slots=True, kw_only=True)
class Reports:
    """The last page, made again only when there have been observations since."""

    _page: bytes = b""
    _received: int = -1
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)

    async def page(self, reference: Reference, window: Window, drift: Drift) -> bytes:
        """A page of `window` or of a later one; raises TimeoutError and BrokenWorkerProcess."""
        async with self._one_at_a_time:
            if self._received < window.received:
                with anyio.fail_after(LONGEST_SECONDS):
                    page = await anyio.to_process.run_sync(
                        render, *_shown(reference, window, drift), cancellable=True
                    )
                self._page, self._received = page.encode(), window.received
            return self._page


def not_enough(drift: Drift, least: int) -> str:
    return NOT_ENOUGH.format(observations=drift.observations, least=least)


def _shown(
    reference: Reference, window: Window, drift: Drift
) -> tuple[Table, Table, dict[str, Verdict], str]:
    """The features that differ most, if there are too many for a page."""
    by_psi = sorted(drift.features, key=lambda name: -drift.features[name].psi)
    names = tuple(by_psi[:MOST_FEATURES])
    columns = [reference.names.index(name) for name in names]
    verdicts = {
        name: Verdict(psi=drift.features[name].psi, drifted=drift.features[name].drifted)
        for name in names
    }
    step = math.ceil(len(reference.values) / MOST_ROWS)
    return (
        Table(names=names, values=reference.values[::step, columns]),
        Table(names=names, values=window.features[-MOST_ROWS:, columns]),
        verdicts,
        _summary(drift),
    )


def _summary(drift: Drift) -> str:
    features = f"{len(drift.drifted_features)} of {len(drift.features)} features have drifted"
    match drift.embedding:
        case None:
            embeddings = "the embeddings were not compared"
        case found:
            verb = "have drifted" if found.drifted else "have not drifted"
            embeddings = f"the embeddings {verb} (MMD² {found.mmd2:.3g}, p {found.p_value:.3g})"
    shown = min(len(drift.features), MOST_FEATURES)
    return (
        f"{drift.observations} observations: {features}; {embeddings}. "
        f"Shown are the {shown} features that differ most."
    )


def render(before: Table, now: Table, verdicts: dict[str, Verdict], summary: str) -> str:
    """The page; runs in the process that has evidently."""
    # Only here: it is what takes ten seconds.
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    def ours(reference: pd.Series, *_: object) -> tuple[float, bool]:
        verdict = verdicts[str(reference.name)]
        return verdict.psi, verdict.drifted

    register_stattest(
        StatTest(
            name=TEST,
            display_name="PSI; drift also needs KS or chi-squared",
            allowed_feature_types=[ColumnType.Numerical],
        ),
        ours,
    )
    definition = DataDefinition(numerical_columns=list(before.names))
    datasets = [
        Dataset.from_pandas(
            pd.DataFrame(table.values, columns=list(table.names)), data_definition=definition
        )
        for table in (now, before)
    ]
    preset = DataDriftPreset(method=TEST, drift_share=1 / len(before.names))
    with warnings.catch_warnings():
        # Of the correlation with a constant feature, which has none.
        warnings.simplefilter("ignore", RuntimeWarning)
        page = Report([preset], include_tests=False).run(*datasets).get_html_str(as_iframe=False)
    return page.replace("<body>", f"<body><p>{escape(summary)}</p>", 1)
