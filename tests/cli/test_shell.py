"""Dagger shell: the calls that were recorded, and what else scripts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.test_dependencies import Replay, compare, make_replay, recorded

if TYPE_CHECKING:
    from tests.cli.transcript import Recorded

pytestmark = [pytest.mark.privileged, pytest.mark.network]


@pytest.fixture(scope="module")
def deps(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Replay:
    return make_replay(tmp_path_factory.mktemp("shell"), "deps", environ)


@pytest.mark.parametrize("call", recorded("shell"))
def test_the_recorded_answer(deps: Replay, call: Recorded) -> None:
    compare(deps, call, call.line)
