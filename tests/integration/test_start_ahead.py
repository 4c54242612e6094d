"""The process of a function starts with that of its constructor, and waits for its call."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from layerline.engine.api.server import serve_session
from layerline.engine.api.session import Client, Session, open_session
from layerline.engine.module.calls import Caller
from layerline.engine.module.definitions import Function, Json, ObjectTypeDef, TypeDef
from layerline.engine.module.function_process import function_process_of
from layerline.engine.module.loading import load_module
from layerline.engine.module.source import find_module
from layerline.errors import LayerlineError
from layerline.log import Journal
from layerline.settings import Settings
from tests.unit.module.fetching import no_fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.privileged, pytest.mark.network]

NOISY = """
import sys

import dagger

print("imported", file=sys.stderr)


@dagger.object_type
class Sample:
    kind: str = "none"

    @dagger.function
    def shown(self) -> str:
        return self.kind

    @dagger.function
    def failed(self) -> str:
        raise ValueError(self.kind)
"""


@asynccontextmanager
async def called(
    home: Path, environ: dict[str, str]
) -> AsyncIterator[tuple[Session, Caller, ObjectTypeDef, Json]]:
    """A session in which the constructor of a module was called."""
    settings = Settings.from_environ(environ)
    async with (
        open_session(settings, Journal(), workdir=home) as session,
        serve_session(session),
    ):
        module = load_module(find_module(None, workdir=home), session.store, no_fetch)
        caller = Caller.of(session, module)
        main = module.types(await caller.define()).main_object()
        made = Function(name="", return_type=TypeDef(kind="OBJECT_KIND", name=main.name))
        constructor = main.constructor or made
        yield session, caller, main, await caller.call(main.name, constructor, None, {"kind": "k"})


def waiting(session: Session) -> list[Client]:
    return [each for each in session.clients.values() if each is not session.main]


@pytest.fixture
def module(tmp_path: Path, environ: dict[str, str]) -> Path:
    """A module that prints while it is imported."""
    home = tmp_path / "noisy"
    (home / "src" / "sample").mkdir(parents=True)
    (home / "src" / "sample" / "__init__.py").write_text(f"MARK = {str(tmp_path)!r}\n{NOISY}")
    (home / "dagger.json").write_text(
        '{"name": "sample", "engineVersion": "v0.21.8", "sdk": {"source": "python"}}'
    )
    (home / "pyproject.toml").write_text('[project]\nname = "sample"\nversion = "0.0.0"\n')
    assert environ
    return home


@pytest.mark.usefixtures("root")
async def test_the_process_that_waits_gets_the_next_call(
    module: Path, environ: dict[str, str]
) -> None:
    async with called(module, environ) as (session, caller, main, state):
        [client] = waiting(session)
        shown = next(each for each in main.functions if each.name == "shown")
        assert await caller.call(main.name, shown, state, {}) == "k"
        running = function_process_of(client)
        assert running is not None
        assert running.value == '"k"'
        assert waiting(session) == []


@pytest.mark.usefixtures("root")
async def test_a_process_that_waits_fails_and_ends_like_any_other(
    module: Path, environ: dict[str, str]
) -> None:
    async with called(module, environ) as (session, caller, main, state):
        failed = next(each for each in main.functions if each.name == "failed")
        with pytest.raises(LayerlineError, match="k"):
            await caller.call(main.name, failed, state, {})
        assert waiting(session) == []


@pytest.mark.usefixtures("root")
async def test_a_session_ends_while_a_process_waits(module: Path, environ: dict[str, str]) -> None:
    async with called(module, environ) as (session, _, _, _):
        assert len(waiting(session)) == 1
        scratch = session.store.scratch
    assert waiting(session) == []
    assert list(scratch.glob("call-*")) == []
