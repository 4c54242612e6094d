"""What a service said goes under each test that fails, in the text and in the XML.

Into the XML go only sections that are named as pytest names captured output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci.image_tests.supervised import SUPERVISED

if TYPE_CHECKING:
    from collections.abc import Generator

MOST_LOG = 20_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Ask each service for its log while it still has it."""
    report = yield
    if report.failed:
        for service in SUPERVISED:
            report.sections.append(
                (f"Captured stdout of {service.host}", service.log()[-MOST_LOG:])
            )
    return report
