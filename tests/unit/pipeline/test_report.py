"""The report: what it says of a build, and that a phone can show it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from layerline.pipeline.plan import Plan, Step
from layerline.pipeline.report import document, page
from tests.chromium import Chromium, no_chromium
from tests.conftest import skip_because

if TYPE_CHECKING:
    from pathlib import Path

PHONE_PIXELS = 360
PLAN = Plan(
    image="train",
    steps=(
        Step(name="base", why=""),
        Step(name="core", why=""),
        Step(name="shared+api-cloudrun+drift-api+train", why="numpy 2.4.5 -> 2.4.6"),
        Step(name="train and its probes", why="layers"),
    ),
)


def probe(name: str, seconds: float, output: str = "") -> dict[str, Any]:
    return {"probe": name, "result": "passed", "seconds": seconds, "output": output}


def evidence() -> list[dict[str, Any]]:
    named = [("numpy", 90_000_000), ("pyyaml", 700_000), ("a-package-of-a-very-long-name" * 2, 5)]
    packages = [{"name": name, "version": "1.0", "bytes": size} for name, size in named]
    own = [probe(name, 0.5) for name in ("versions", "libraries", "imports", "core")]
    long = "/opt/venv/lib/" + "x" * 300
    return [
        {"subject": "core", "probes": own, "packages": packages[::-1], "seconds": 12.0},
        {
            "subject": "shared+api-cloudrun+drift-api+train",
            "probes": [*own[:2], probe("cv", 1.0, f"<script>alert(1)</script> {long}")],
            "packages": packages[:1],
            "seconds": 2.0,
        },
        {
            "subject": "image train",
            "probes": [probe(name, 1.5) for name in ("owners", "orders", "absent", "budget")],
            "packages": [],
        },
    ]


def report_data() -> dict[str, Any]:
    return document("train", "cpu", evidence(), PLAN)


@pytest.fixture
def chromium(tmp_path: Path) -> Chromium:
    """Debian's browser."""
    skip_because(no_chromium)
    return Chromium(place=tmp_path)


def test_the_image_follows_the_slowest_installation() -> None:
    assert [each["begin"] for each in report_data()["layers"]] == [0.0, 0.0]
    assert (report_data()["final"]["begin"], report_data()["final"]["probe_seconds"]) == (12.0, 6.0)


def test_packages_are_ordered_by_their_bytes_and_summed() -> None:
    [core, shared] = report_data()["layers"]
    assert [each["bytes"] for each in core["packages"]] == [90_000_000, 700_000, 5]
    assert (core["bytes"], shared["bytes"]) == (90_700_005, 90_000_000)
    assert report_data()["bytes"] == 180_700_005


def test_what_was_not_kept_is_told_with_its_reason() -> None:
    assert [each["why"] for each in report_data()["layers"]] == ["", "numpy 2.4.5 -> 2.4.6"]
    assert report_data()["final"]["why"] == "layers"
    assert '<span class="run">numpy 2.4.5 -&gt; 2.4.6</span>' in page(report_data())


def test_the_page_needs_nothing_else_and_runs_no_text_of_a_probe() -> None:
    text = page(report_data())
    assert re.findall(r"https?://|src=|href=|@import|url\(|<script", text) == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_page_without_packages_has_its_bars() -> None:
    empty = [{**each, "packages": [], "probes": []} for each in evidence()]
    assert "width:0.00%" in page(document("train", "cpu", empty, PLAN))


def test_a_phone_shows_it_without_scrolling_sideways(chromium: Chromium) -> None:
    script = """{
        wide: page.documentElement.scrollWidth,
        size: parseFloat(getComputedStyle(page.body).fontSize),
        names: page.querySelector(".matrix tr:nth-child(3) th").offsetWidth,
        rows: page.querySelectorAll(".matrix tr").length,
        bars: [...page.querySelectorAll(".step .bar")].map(each => each.offsetWidth > 0)
    }"""
    opened = page(report_data()).replace("<details>", "<details open>")
    found = json.loads(chromium.evaluate(opened, script, width=PHONE_PIXELS))
    assert found["wide"] <= PHONE_PIXELS
    assert found["size"] >= 16
    assert found["names"] < PHONE_PIXELS / 2
    assert found["rows"] == 4
    assert found["bars"] == [True, True, False]


def test_a_page_that_is_too_wide_is_noticed(chromium: Chromium) -> None:
    wide = page(report_data()).replace(".wide { overflow-x: auto; }", "")
    script = "page.documentElement.scrollWidth"
    assert int(chromium.evaluate(wide, script, width=PHONE_PIXELS)) > PHONE_PIXELS
