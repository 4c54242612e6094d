"""JUnit's XML: what pytest writes, merged and summarized."""

from __future__ import annotations

from ci.modules import junit

ONE = """<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">
<testsuite name="pytest" errors="0" failures="1" skipped="1" tests="4" time="1.2">
<testcase classname="t" name="good" time="0.25"><properties>
<property name="cold start" value="2.1 s" /></properties></testcase>
<testcase classname="t" name="bad" time="0.5"><failure message="no">trace</failure></testcase>
<testcase classname="t" name="broken" time="0.1"><error message="no">trace</error></testcase>
<testcase classname="t" name="left" time="0"><skipped message="why" /></testcase>
</testsuite></testsuites>"""
OTHER = """<testsuites><testsuite name="pytest"><testcase name="also" time="2"/></testsuite>
</testsuites>"""


def test_the_outcome_of_each_test_is_found() -> None:
    found = {case.name: case.outcome for case in junit.cases(ONE)}
    assert found == {"good": "passed", "bad": "failed", "broken": "failed", "left": "skipped"}


def test_several_documents_become_one() -> None:
    merged = junit.merge([ONE, OTHER])
    assert [case.name for case in junit.cases(merged)] == ["good", "bad", "broken", "left", "also"]
    assert "trace" in merged


def test_the_summary_counts_and_times() -> None:
    lines = junit.summary("api", ONE, seconds=7.0).splitlines()
    assert lines[0] == "api: 2 failed, 1 passed, 1 skipped in 7.0 s"
    assert lines[1:3] == ["  passed good [0.2 s]", "    cold start: 2.1 s"]


def test_a_document_without_tests_has_a_summary() -> None:
    assert junit.summary("api", "<testsuites/>", seconds=0.0) == "api: no tests in 0.0 s\n"


def test_of_many_tests_only_the_notable_are_listed() -> None:
    case = '<testcase name="t{}" time="{}">{}</testcase>'
    cases = [case.format(number, 0.1, "") for number in range(100)]
    cases += [case.format("slow", 9, ""), case.format("bad", 0, "<failure/>")]
    text = junit.summary("train", f"<testsuites>{''.join(cases)}</testsuites>", seconds=1.0)
    assert text.splitlines() == [
        "train: 1 failed, 101 passed in 1.0 s",
        "  passed tslow [9.0 s]",
        "  failed tbad [0.0 s]",
    ]
