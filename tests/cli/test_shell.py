"""Dagger shell: the calls that were recorded, and what else scripts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.replay import Replay, make_replay, recorded_blocks

if TYPE_CHECKING:
    from tests.cli.transcript import Recorded
    from tests.cli.warm import WarmProgram

pytestmark = [pytest.mark.privileged, pytest.mark.network]


@pytest.fixture(scope="module")
def deps(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str], warm: WarmProgram
) -> Replay:
    return make_replay(tmp_path_factory.mktemp("shell"), "deps", environ, warm)


@pytest.mark.parametrize(("name", "call"), recorded_blocks("shell"))
def test_the_recorded_answer(deps: Replay, name: str, call: Recorded) -> None:
    assert name == "shell"
    deps.play(call)
