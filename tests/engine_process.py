"""Tests of the engine's parts, run where the engine runs, whoever runs pytest.

The engine of an ordinary user is root of a user namespace. If such a user runs pytest, the tests
that need that are run last, in a child that entered the engine's namespaces as `layerline` does;
their reports come back through a pipe. All other tests are the user's.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol

from layerline import host, kernel
from tests.capabilities import no_containers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

_UNIT = Path(__file__).parent / "unit"
_PARTS = tuple(
    _UNIT / name
    for name in (
        *("api", "dockerfile", "image", "module", "runtime"),
        *("solve", "sources", "store", "trees"),
    )
)
_OUTSIDE = ("container_user", "machine_root")


def needs_root(item: pytest.Item) -> bool:
    """Whether a test calls what only root may do, be it root of a user namespace."""
    names = getattr(item, "fixturenames", ())
    if any(name in names for name in _OUTSIDE):
        return False
    return "root" in names or any(part in item.path.parents for part in _PARTS)


def pytest_configure() -> None:
    """Mount in a namespace of this process: if it is killed, no mount of a test stays."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(PermissionError):  # then no test can mount, either
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", Path("/"), None, kernel.MS_REC | kernel.MS_SLAVE)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run the tests that need root in a child, if this process is not root."""
    inside = [item for item in session.items if needs_root(item)]
    idle = session.config.option.collectonly or session.testsfailed
    if os.geteuid() == 0 or idle or not inside or no_containers():
        return (yield)
    session.items = [item for item in session.items if item not in inside]
    # The directory is this process's, which lives longer.
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    starting, start = os.pipe()
    reading, writing = os.pipe()
    child = os.fork()  # before a test has started threads
    if child == 0:
        os.close(start)
        os.close(reading)
        _run_as_root(inside, starting, writing)
    os.close(starting)
    os.close(writing)
    try:
        result = yield
        os.write(start, b"s")
        _show_reports(session, inside, reading)
    finally:
        os.close(start)
        os.close(reading)  # a child that still writes ends by SIGPIPE
        os.waitpid(child, 0)
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the user the files that containers left, which pytest removes some runs later."""
    factory = getattr(config, "_tmp_path_factory", None)
    base = getattr(factory, "_basetemp", None)
    if os.geteuid() == 0 or base is None or no_containers():
        return
    child = os.fork()
    if child == 0:
        try:
            host.become_root()
            for place, _, files in os.walk(base):
                for name in ("", *files):
                    os.chown(os.path.join(place, name), 0, 0, follow_symlinks=False)  # noqa: PTH118
                os.chmod(place, 0o700)  # noqa: PTH101
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _run_as_root(items: Sequence[pytest.Item], starting: int, writing: int) -> None:
    """Run tests in a child's namespaces once it may, and end; never returns."""
    try:
        if not os.read(starting, 1):
            return
        host.enter_namespaces()
        with os.fdopen(writing, "w") as pipe:
            for number, item in enumerate(items):
                following = items[number + 1] if number + 1 < len(items) else None
                reports = runtestprotocol(item, log=False, nextitem=following)
                hook = item.config.hook
                data = [
                    hook.pytest_report_to_serializable(config=item.config, report=report)
                    for report in reports
                ]
                pipe.write(json.dumps(data) + "\n")
                pipe.flush()
    finally:
        os._exit(0)


def _show_reports(session: pytest.Session, items: Sequence[pytest.Item], reading: int) -> None:
    with os.fdopen(os.dup(reading)) as pipe:
        for item in items:
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            line = pipe.readline()
            if not line:
                message = f"the process that ran {item.nodeid} as root ended"
                raise session.Interrupted(message)
            for report in _reports(item, json.loads(line)):
                item.ihook.pytest_runtest_logreport(report=report)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)


def _reports(item: pytest.Item, data: list[dict[str, Any]]) -> Iterator[pytest.TestReport]:
    for each in data:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=each)
        if isinstance(report.longrepr, list):  # where and why it was skipped: JSON has no tuples
            report.longrepr = tuple(report.longrepr)
        yield report
