"""The report: what it says of a build, and that a phone can show it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from layerline.pipeline.plan import Plan, Step
from layerline.pipeline.report import document, page
from layerline.pipeline.report_markdown import text
from tests.chromium import Chromium, no_chromium
from tests.conftest import skip_because

if TYPE_CHECKING:
    from pathlib import Path

PHONE_PIXELS = 360
PLAN = Plan(
    image="train",
    target="cpu",
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
        {
            "subject": "core",
            "probes": own,
            "packages": packages[::-1],
            "seconds": 12.0,
            "bytecode": {"files": 40, "bytes": 7_000_000, "seconds": 1.5, "left_out": ["a.py"]},
            "times": {"install": [0.5, 12.5], "compile": [12.5, 14.0], "probes": [14.5, 16.5]},
        },
        {
            "subject": "shared+api-cloudrun+drift-api+train",
            "probes": [*own[:2], probe("cv", 1.0, f"<script>alert(1)</script> {long}")],
            "packages": packages[:1],
            "seconds": 2.0,
            "times": {"install": [0.5, 2.5], "probes": [2.5, 3.0]},
        },
        {
            "subject": "image train",
            "probes": [probe(name, 1.5) for name in ("owners", "orders", "absent", "budget")],
            "packages": [],
            "times": {"probes": [16.5, 20.0]},
        },
    ]


EARLIER = [
    {
        "subject": "core",
        "packages": [
            {"name": "numpy", "version": "0.9", "bytes": 80_000_000},
            {"name": "gone", "version": "3.0", "bytes": 1000},
            {"name": "pyyaml", "version": "1.0", "bytes": 700_000},
        ],
    }
]


ORIGIN = {
    "project": "scans",
    "commit": "0123abc",
    "date": "2026-11-30 12:00 UTC",
    "digest": "sha256:" + "ab" * 32,
    "bytes": 60_000_000,
    "bytecode": True,
}


GPU_CODE = "nvidia-cusparselt-cu13: sm_90a 120223704, compute_120f 9\nnvidia-cudnn-cu13: sm_90a 7"
AUDIT: dict[str, Any] = {
    "date": "2026-11-30",
    "policy": {"severity": "high", "unfixed": False},
    "checked": [],
    "licenses": [],
    "notes": [],
    "vulnerabilities": [
        {
            "id": "GHSA-q2q7-5pp4-w6pg",
            "url": "https://osv.dev/vulnerability/GHSA-q2q7-5pp4-w6pg",
            "package": "opencv-python-headless",
            "version": "1:4.10.0.84+dfsg1-12+deb12u10",
            "fixed": "1:4.10.0.84+dfsg1-12+deb12u11",
            "severity": "critical",
            "score": 9.8,
            "status": "accepted",
            "until": "2027-01-01",
            "reason": "never given foreign files",
        }
    ],
}


def report_data() -> dict[str, Any]:
    return document(
        "train",
        "cpu",
        evidence(),
        PLAN,
        earlier=EARLIER,
        origin=ORIGIN,
    )


@pytest.fixture
def chromium(tmp_path: Path) -> Chromium:
    """Debian's browser."""
    skip_because(no_chromium)
    return Chromium(place=tmp_path)


def test_bytecode_has_its_bytes_and_its_time_where_the_image_has_it() -> None:
    def made(**origin: bool) -> dict[str, Any]:
        return document("train", "cpu", evidence(), PLAN, origin={**ORIGIN, **origin})

    with_it, without = made(), made(bytecode=False)
    assert (with_it["bytecode_bytes"], without["bytecode_bytes"]) == (7_000_000, 0)
    assert "7.0 MB of their bytecode" in text(with_it)
    assert "bytecode of 40 files, 1 file did not compile" in page(with_it)
    assert 'class="compile" style="width:7.50%"' in page(with_it)
    assert "of their bytecode" not in text(without)
    assert "bytecode of" not in page(without)


def test_bars_begin_when_their_steps_began_in_this_build() -> None:
    assert report_data()["seconds"] == 20.0
    (_core, track, *_rest) = page(report_data()).split('<div class="track">')
    assert re.findall(r"width:([\d.]+)%", track.split("</div>")[0]) == [
        "2.50",  # of 20 s, until the installation begins
        "60.00",
        "0.00",
        "7.50",  # the bytecode
        "2.50",  # the probes wait
        "10.00",
    ]


def test_a_layer_has_one_row_with_its_probes_counted() -> None:
    shown = page(report_data())
    rows = re.findall(r"<tr><th>(core|shared[^<]*)<div", shown)
    assert rows == ["core", "shared+api-cloudrun+drift-api+train"]
    assert '<td class="passed">4 of 4 passed</td>' in shown
    assert "<tr><th>probes</th><td>11 of 11 passed</td></tr>" in shown


def test_it_names_its_commit_and_what_changed_since_an_earlier_build() -> None:
    changes = {each["name"]: each for each in report_data()["changes"]}
    assert set(changes) == {"numpy", "gone", "a-package-of-a-very-long-name" * 2}
    numpy = changes["numpy"]
    assert (numpy["before"], numpy["after"], numpy["bytes"]) == ("0.9", "1.0", 10_000_000)
    assert (changes["gone"]["after"], changes["gone"]["bytes"]) == ("", -1000)
    rows = re.findall(r"<tr><th>(\w+)</th><td>([^<]*)</td></tr>", page(report_data()))
    assert rows[:5] == [
        ("project", "scans"),
        ("commit", "0123abc"),
        ("date", "2026-11-30 12:00 UTC"),
        ("digest", ORIGIN["digest"]),
        (
            "size",
            "60.0 MB to transfer; 2 layers with 180.7 MB of packages and 7.0 MB of their bytecode",
        ),
    ]
    unknown = document("train", "cpu", evidence(), PLAN, origin={**ORIGIN, "commit": ""})
    assert "<th>commit</th>" not in page(unknown)
    assert document("train", "cpu", evidence(), PLAN, origin=ORIGIN)["changes"] == []


def test_the_markdown_is_tables_of_github() -> None:
    lines = text(report_data()).splitlines()
    assert lines[0] == "### train: 1 of 2 layers rebuilt, probes: 11 of 11 passed"
    assert lines[2:6] == [
        "| image | `train` (cpu) |",
        "| --- | --- |",
        "| project | scans |",
        "| commit | `0123abc` |",
    ]
    assert "| core | 90.7 MB |  | 4 of 4 passed | reused |" in lines
    assert "| image train |  | 3.5 s | 4 of 4 passed | its layers changed |" in lines
    assert "| numpy | 0.9 | 1.0 | +10.0 MB |" in lines
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3, 6, 5}


def test_no_text_breaks_a_table_of_the_markdown() -> None:
    data = report_data()
    data["layers"][0]["why"] = "a | b\n<script>"
    assert "| a \\| b &lt;script> |" in text(data)


def test_packages_are_ordered_by_their_bytes_and_summed() -> None:
    [core, shared] = report_data()["layers"]
    assert [each["bytes"] for each in core["packages"]] == [90_000_000, 700_000, 5]
    assert (core["bytes"], shared["bytes"]) == (90_700_005, 90_000_000)
    assert report_data()["bytes"] == 180_700_005


def test_what_was_not_kept_is_told_with_its_reason() -> None:
    assert [each["why"] for each in report_data()["layers"]] == ["", "numpy 2.4.5 -> 2.4.6"]
    assert report_data()["final"]["why"] == "its layers changed"
    assert '<div class="run">numpy 2.4.5 → 2.4.6</div>' in page(report_data())


def test_a_time_is_that_of_this_build_and_none_for_what_is_reused() -> None:
    """The evidence of a cached step has the seconds of the run that produced it."""
    cells = re.findall(r'<td class="number">([\d.]* ?s?)</td></tr>', page(report_data()))
    assert cells[:4] == ["", "", "2.5 s", "3.5 s"]


def test_the_page_needs_nothing_else_and_runs_no_text_of_a_probe() -> None:
    shown = page(report_data())
    assert re.findall(r"https?://|src=|href=|@import|url\(|<script", shown) == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_a_page_without_packages_has_its_bars() -> None:
    empty = [{**each, "packages": [], "probes": []} for each in evidence()]
    assert "width:0.00%" in page(document("train", "cpu", empty, PLAN, origin=ORIGIN))


def test_a_phone_shows_it_without_scrolling_sideways(chromium: Chromium) -> None:
    script = """{
        wide: page.documentElement.scrollWidth,
        size: parseFloat(getComputedStyle(page.body).fontSize),
        names: page.querySelector(".layers tr:nth-child(3) th").offsetWidth,
        facts: page.querySelector(".facts").getBoundingClientRect().right,
        rows: page.querySelectorAll(".layers tr").length,
        bars: [...page.querySelectorAll(".step .bar")].map(each => each.offsetWidth > 0)
    }"""
    probed = evidence()
    probed[-1]["probes"].append(probe("architectures", 0.5, GPU_CODE))
    made = document("train", "cpu", probed, PLAN, origin=ORIGIN, audit=AUDIT)
    opened = page(made).replace("<details>", "<details open>")
    found = json.loads(chromium.evaluate(opened, script, width=PHONE_PIXELS))
    assert found["wide"] <= PHONE_PIXELS
    assert found["size"] >= 16
    assert found["names"] < PHONE_PIXELS / 2
    assert found["facts"] <= PHONE_PIXELS
    assert found["rows"] == 5
    assert found["bars"] == [True, True, False]


def test_a_page_that_is_too_wide_is_noticed(chromium: Chromium) -> None:
    wide = page(report_data()).replace(".layers th:first-child { overflow-wrap: anywhere; }", "")
    script = "page.documentElement.scrollWidth"
    assert int(chromium.evaluate(wide, script, width=PHONE_PIXELS)) > PHONE_PIXELS
