"""Which versions a vulnerability concerns: OSV's evaluation, dpkg's order, CVSS, Debian's tracker.

Sources: https://ossf.github.io/osv-schema/#evaluation and its examples; PEP 440; deb-version(7) and
dpkg itself; the example scores of FIRST for CVSS 2, 3.1 and 4.0; the JSON document of
security-tracker.debian.org.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.pipeline import debian_tracker, osv
from layerline.pipeline.environment import program
from layerline.pipeline.vulnerability import Vulnerability, merge, severity_of
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECORD: Mapping[str, Any] = {
    "id": "GHSA-q2q7-5pp4-w6pg",
    "aliases": ["CVE-2021-33503", "PYSEC-2021-108"],
    "upstream": None,
    "summary": "Catastrophic backtracking in URL authority parser",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "URLLib3"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.26.5"}]}],
        }
    ],
}


def find(record: Mapping[str, Any], version: str) -> list[Vulnerability]:
    return list(osv.find(record, "pypi", {"urllib3": version}, osv.compare_python))


def test_a_vulnerability_has_the_fixed_version_and_the_score_of_its_vector() -> None:
    [found] = find(RECORD, "1.26.4")
    assert (found.package, found.version, found.fixed) == ("urllib3", "1.26.4", "1.26.5")
    assert (found.severity, found.score) == ("high", 7.5)
    assert found.ids == {"GHSA-q2q7-5pp4-w6pg", "CVE-2021-33503", "PYSEC-2021-108"}
    assert find(RECORD, "1.26.5") == []
    assert find({**RECORD, "withdrawn": "2026-01-01T00:00:00Z"}, "1.26.4") == []
    assert list(osv.find(RECORD, "pypi", {"requests": "1"}, osv.compare_python)) == []


# Events of a range, and which of the versions they concern.
TWO = [{"introduced": "1.0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "2.2"}]
RANGES: Sequence[tuple[list[dict[str, str]], Sequence[str], str]] = (
    ([{"introduced": "0"}], ("0.1", "9"), ""),
    (TWO, ("1.0", "1.4", "1.4.9", "2.0", "2.2rc1"), "2.2"),
    (TWO[::-1], ("1.0", "1.4", "1.4.9", "2.0", "2.2rc1"), "2.2"),
    ([{"introduced": "1"}, {"last_affected": "1.4"}], ("1.0", "1.4"), ""),
    ([{"introduced": "1.0.0"}, {"fixed": "1.5"}, {"limit": "*"}], ("1.0", "1.4", "1.4.9"), "1.5"),
    ([{"introduced": "0"}, {"fixed": "any of it"}], ("0.1", "1.0", "2.0", "9"), ""),
)
VERSIONS = ("0.1", "1.0", "1.4", "1.4.9", "1.5", "2.0", "2.2rc1", "2.2", "9")


@pytest.mark.parametrize(("events", "concerned", "fixed"), RANGES)
def test_events_are_evaluated_in_the_order_of_versions(
    events: list[dict[str, str]], concerned: Sequence[str], fixed: str
) -> None:
    affected = {"package": {"name": "urllib3"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    found = {each: find({**RECORD, "affected": [affected]}, each) for each in VERSIONS}
    assert {*concerned} <= {each for each, one in found.items() if one}
    if fixed:
        assert [each for each, one in found.items() if one] == list(concerned)
        assert found[concerned[-1]][0].fixed == fixed


def test_versions_are_compared_and_commits_are_not() -> None:
    listed = {"package": {"name": "urllib3"}, "versions": ["1.0.0", "2024a"]}
    commits = {"type": "GIT", "repo": "https://example.org", "events": [{"introduced": "0"}]}
    record = {**RECORD, "affected": [{**listed, "ranges": [commits]}]}
    assert [each for each in ("1.0", "1.1", "2024a") if find(record, each)] == ["1.0", "2024a"]


# https://www.first.org/cvss/v3.1/examples, /v4.0/examples, /v2/guide
VECTORS = (
    ("CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, "critical"),
    ("CVSS_V3", "CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4, "medium"),
    ("CVSS_V2", "AV:N/AC:L/Au:N/C:N/I:N/A:C", 7.8, "high"),
    (
        "CVSS_V4",
        "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
        9.3,
        "critical",
    ),
)


@pytest.mark.parametrize(("kind", "vector", "score", "severity"), VECTORS)
def test_vectors_have_the_scores_of_the_standard(
    kind: str, vector: str, score: float, severity: str
) -> None:
    assert osv.score_of({"type": kind, "score": vector}) == score
    assert severity_of(score) == severity


def test_a_database_may_rate_in_words_or_not_at_all() -> None:
    plain = {**RECORD, "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/nonsense"}]}
    assert find(plain, "1.0")[0].severity == "unknown"
    assert find({**plain, "database_severity": "MODERATE"}, "1.0")[0].severity == "medium"


# Pairs of deb-version(7) and of Debian's policy, section 5.6.12.
DEBIAN = (
    ("1.0~beta1~svn1245", "1.0~beta1"),
    ("1.0~beta1", "1.0"),
    ("1.0", "1.0-1"),
    ("2.9", "1:1.0"),
    ("1.0-1~deb12u1", "1.0-1"),
    ("1.0-1", "1.0-1+b1"),
    ("1.0-1+deb12u9", "1.0-1+deb12u10"),
    ("3.0.11-1~deb12u2", "3.0.11-1"),
    ("2.36-9+deb12u3", "2.36-9+deb12u10"),
    ("1.2a", "1.2+b"),
    ("0", "0.1"),
)


@pytest.mark.parametrize(("older", "newer"), DEBIAN)
def test_debian_versions_are_ordered_as_dpkg_does(older: str, newer: str) -> None:
    assert osv.compare_debian(older, newer) < 0 < osv.compare_debian(newer, older)
    assert osv.compare_debian(newer, newer) == 0
    if command.find("dpkg") is not None:
        argv = ["dpkg", "--compare-versions", older, "lt", newer]
        assert command.run(argv, expect=None).status == 0


PACKAGES = [
    {"source": "openssl", "source_version": "3.0.9-1", "name": "libssl3", "version": "3.0.9-1"},
    {"source": "openssl", "source_version": "3.0.9-1", "name": "openssl", "version": "3.0.9-1"},
    {"source": "perl", "source_version": "5.36.0-7", "name": "perl-base", "version": "5.36.0-7"},
]


def issue(status: str, fixed: str = "", urgency: str = "not yet assigned") -> dict[str, str]:
    return {"status": status, "urgency": urgency, **({"fixed_version": fixed} if fixed else {})}


def test_the_tracker_names_the_source_package_with_the_fixed_version() -> None:
    issues = {
        "openssl": {
            "CVE-1": issue("resolved", "3.0.11-1~deb12u2", "high**"),
            "CVE-2": issue("resolved", "3.0.9-1"),
            "CVE-3": issue("resolved", "0"),
            "CVE-4": issue("open", urgency="unimportant"),
        },
        "perl": {"CVE-5": issue("undetermined")},
        "curl": {"CVE-6": issue("open")},
    }
    found = {each.id: each for each in debian_tracker.find(issues, PACKAGES)}
    assert found.keys() == {"CVE-1", "CVE-4", "CVE-5"}
    assert found["CVE-1"].installed == ("libssl3", "openssl")
    assert (found["CVE-1"].fixed, found["CVE-1"].severity) == ("3.0.11-1~deb12u2", "high")
    assert (found["CVE-4"].fixed, found["CVE-4"].severity) == ("", "none")
    assert found["CVE-5"].severity == "unknown"


def test_one_vulnerability_under_several_names_is_one() -> None:
    shared = {"kind": "pypi", "package": "urllib3", "version": "1.0"}
    found = [
        Vulnerability(id="PYSEC-1", aliases=("CVE-1",), fixed="1.2", **shared),  # type: ignore[arg-type]
        Vulnerability(id="GHSA-2", severity="low", **shared),  # type: ignore[arg-type]
        Vulnerability(
            id="GHSA-1",
            aliases=("CVE-1",),
            fixed="1.10",
            severity="high",
            score=7.5,
            **shared,  # type: ignore[arg-type]
        ),
    ]
    second, first = merge(found, osv.compare_python)
    assert (first.id, first.aliases) == ("CVE-1", ("GHSA-1", "PYSEC-1"))
    assert (first.fixed, first.severity, first.score) == ("1.10", "high", 7.5)
    assert second.id == "GHSA-2"


@pytest.fixture
def select(tmp_path: Path) -> Any:  # noqa: ANN401
    """The program, with a dpkg that has the packages above."""
    rows = "".join(
        f"{each['source']}\t{each['source_version']}\t{each['name']}\t{each['version']}\tii \n"
        for each in PACKAGES
    )
    (tmp_path / "rows").write_text(rows.replace("ii", "hi", 1) + "gone\t1\tgone\t1\trc \n")
    query = tmp_path / "bin/dpkg-query"
    query.parent.mkdir()
    query.write_text(f"#!/bin/sh\ncat {tmp_path}/rows\n")
    query.chmod(0o755)
    environ = {**process_environ(), "PATH": f"{query.parent}:{process_environ()['PATH']}"}
    (tmp_path / "osv").mkdir()

    def run(tracker: Any = None, **request: list[str]) -> tuple[int, Any, str]:  # noqa: ANN401
        given = [str(tmp_path / "osv"), ""]
        if tracker is not None:
            given[1] = str(tmp_path / "tracker.json")
            Path(given[1]).write_text(json.dumps(tracker))
        argv = [sys.executable, "-I", "-c", program("select_advisories.py"), *given]
        asked = json.dumps({"names": ["urllib3"], "ids": [], **request}).encode()
        done = command.run(argv, stdin=asked, env=environ, expect=None)
        return done.status, json.loads(done.stdout or "null"), done.stderr.decode()

    return run


def test_records_are_selected_by_name_from_files_and_archives(select: Any, tmp_path: Path) -> None:  # noqa: ANN401
    other = {**RECORD, "id": "GHSA-other", "modified": "2026-02-01T00:00:00Z"}
    other["affected"] = [{"package": {"ecosystem": "PyPI", "name": "requests"}}]
    npm = {**RECORD, "id": "GHSA-npm", "aliases": ["CVE-9"]}
    npm["affected"] = [{"package": {"ecosystem": "npm", "name": "urllib3"}}]
    for each in (other, npm):
        (tmp_path / f"osv/{each['id']}.json").write_text(json.dumps(each))
    with zipfile.ZipFile(tmp_path / "osv/all.zip", "w") as archive:
        archive.writestr("PyPI/record.json", json.dumps(RECORD))
    status, found, _ = select(ids=["CVE-9", "CVE-0"])
    assert status == 0
    assert [each["id"] for each in found["osv"]] == [RECORD["id"]]
    assert found["data"]["records"]["PyPI"] == 2
    assert found["data"]["newest"] == "2026-02-01T00:00:00Z"
    assert found["data"]["known"] == ["CVE-9"]
    assert [each["name"] for each in found["packages"]] == ["libssl3", "openssl", "perl-base"]


def test_the_tracker_is_read_for_the_release_and_the_sources_alone(select: Any) -> None:  # noqa: ANN401
    lines = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    here = lines["VERSION_CODENAME"].strip('"')
    one = {"releases": {here: issue("open"), "elsewhere": issue("open")}, "description": "text"}
    tracker = {"perl": {"CVE-5": one}, "curl": {"CVE-6": {"releases": {here: issue("open")}}}}
    status, found, _ = select(tracker, ids=["CVE-6"])
    assert status == 0
    assert found["tracker"] == {
        "releases": sorted([here, "elsewhere"]),
        "known": ["CVE-6"],
        "issues": {"perl": {"CVE-5": {**issue("open"), "description": "text"}}},
    }


@pytest.mark.parametrize("content", ["[]", '{"summary": "no id"}', "<html>"])
def test_data_of_another_kind_is_an_error(content: str, select: Any, tmp_path: Path) -> None:  # noqa: ANN401
    (tmp_path / "osv/wrong.json").write_text(content)
    status, _, error = select()
    assert status == 1
    assert error.startswith("wrong.json in the OSV data is not ")
    (tmp_path / "osv/wrong.json").rename(tmp_path / "osv/wrong.zip")
    status, _, error = select()
    assert (status, error.partition(":")[0]) == (
        1,
        "wrong.zip in the OSV data is not a ZIP archive",
    )
    (tmp_path / "osv/wrong.zip").unlink()
    assert select(["a list"])[0] == 1
