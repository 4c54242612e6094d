"""Results of image tests, for people and as JUnit: of tests that passed and of failed ones."""

from __future__ import annotations

import pytest

from ci.modules import junit
from ci.modules.image_test import ImageTestFailed, ImageTestResult, programs, render_results
from ci.modules.start_test import start_result

PASSED = '<testsuites><testsuite><testcase name="good" time="1"/></testsuite></testsuites>'
FAILED = (
    '<testsuites><testsuite><testcase name="bad" time="1"><failure/></testcase></testsuite>'
    "</testsuites>"
)


def image_test_result(name: str, xml: str, *, passed: bool) -> ImageTestResult:
    return ImageTestResult(name=name, passed=passed, xml=xml, log=f"{name}'s log", seconds=1.0)


GOOD = image_test_result("api", PASSED, passed=True)
BAD = image_test_result("drift-api", FAILED, passed=False)


def test_each_image_test_is_listed_with_its_duration() -> None:
    assert render_results([GOOD], xml=False) == "api: 1 passed in 1.0 s\n  passed good [1.0 s]\n"


def test_a_failure_is_an_error_with_the_log_of_what_failed() -> None:
    with pytest.raises(ImageTestFailed) as failure:
        render_results([GOOD, BAD], xml=False)
    assert "drift-api's log" in str(failure.value)
    assert "api: 1 passed" in str(failure.value)
    assert "\napi's log" not in f"\n{failure.value}"


def test_the_xml_is_given_whether_tests_pass_or_fail() -> None:
    found = {case.name: case.outcome for case in junit.cases(render_results([GOOD, BAD], xml=True))}
    assert found == {"good": "passed", "bad": "failed"}


def test_a_start_is_a_test_with_its_measurement_or_its_failure() -> None:
    good = start_result("api", "healthy after 812 ms", "", seconds=4.0)
    bad = start_result("dev", "", "memory_mb of dev is 900 MB", seconds=9.0)
    assert render_results([good], xml=False) == (
        "api start: 1 passed in 4.0 s\n  passed start [4.0 s]\n    api: healthy after 812 ms\n"
    )
    with pytest.raises(ImageTestFailed, match="memory_mb of dev is 900 MB"):
        render_results([good, bad], xml=False)
    cases = junit.cases(render_results([good, bad], xml=True))
    assert [case.outcome for case in cases] == ["passed", "failed"]


def test_each_image_has_a_test_program() -> None:
    assert {"test_api.py", "test_dev.py", "conftest.py"} <= programs().keys()
