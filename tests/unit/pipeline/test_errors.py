"""What the SDK logs of errors: a traceback of defects, and none of mistakes and failed steps."""

from __future__ import annotations

import logging

import dagger
import gql
import pytest
from dagger._exceptions import QueryErrorValue

from layerline.pipeline.diagnostics import DefinitionError, Diagnostic
from layerline.pipeline.lock import LockError

STEP = {"_type": "EXEC_ERROR", "cmd": ["false"], "exitCode": 1, "stdout": "", "stderr": "no"}
QUERY = gql.gql("{ container { sync } }")


def refused(message: str, **extensions: object) -> dagger.QueryError:
    """What a query that the engine refuses raises in the SDK."""
    return dagger.QueryError([QueryErrorValue(message, extensions=extensions)], QUERY)


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (DefinitionError([Diagnostic("unknown key 'x'")]), 0),
        (LockError("the lock is out of date"), 0),
        (refused("exit code: 1", **STEP), 0),
        (refused("no such file: /app/x"), 0),
        (ValueError("substring not found"), 1),
    ],
)
def test_only_a_defect_has_a_traceback(
    error: Exception, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As `Module.call` of dagger/mod/_module.py logs what a function raises."""
    try:
        raise error
    except (ValueError, dagger.QueryError):
        logging.getLogger("dagger.mod").exception("Unhandled exception while executing function")
    assert len(caplog.records) == logged
