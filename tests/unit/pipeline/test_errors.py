"""What the SDK logs of errors: a traceback of defects, and none of mistakes in a project."""

from __future__ import annotations

import logging

import pytest

from layerline.pipeline.diagnostics import DefinitionError, Diagnostic
from layerline.pipeline.lock import LockError


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (DefinitionError([Diagnostic("unknown key 'x'")]), 0),
        (LockError("the lock is out of date"), 0),
        (ValueError("substring not found"), 1),
    ],
)
def test_only_a_defect_has_a_traceback(
    error: Exception, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As `Module.call` of dagger/mod/_module.py logs what a function raises."""
    try:
        raise error
    except ValueError:
        logging.getLogger("dagger.mod").exception("Unhandled exception while executing function")
    assert len(caplog.records) == logged
