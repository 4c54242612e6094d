"""A call as its process meets it: one answer, files inside its directory, failures as they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from layerline.engine.module import results
from layerline.engine.module.calls import Caller, call_name
from layerline.engine.module.definitions import Error, Function, FunctionCall, TypeDef
from layerline.engine.module.function_process import FunctionProcess, function_process_of
from layerline.engine.module.loading import load_module
from layerline.engine.module.source import read_config
from layerline.errors import PathError, PathNotFound, QueryError
from tests.unit.conftest import RootedProcess
from tests.unit.module.fetching import no_fetch

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

TEXT = TypeDef(kind="STRING_KIND")
DOCUMENT = {"name": "my-mod", "engineVersion": "v0.21.8", "sdk": {"source": "python"}}


def start_call(session: Session, tmp_path: Path) -> FunctionProcess:
    """A call of a module without code, whose process has an empty working directory."""
    root = tmp_path / "module"
    for place in (root, tmp_path / "scratch"):
        place.mkdir(exist_ok=True)
    (root / "dagger.json").write_text(json.dumps(DOCUMENT))
    module = load_module(read_config(root), session.store, no_fetch)
    process = RootedProcess.at(tmp_path, cwd="/scratch")
    return FunctionProcess(module=module, call=FunctionCall(), session=session, process=process)


async def test_a_call_is_answered_once(open_a_session: OpenSession, tmp_path: Path) -> None:
    async with open_a_session() as session:
        answered = start_call(session, tmp_path)
        answered.answer("1")
        failed = start_call(session, tmp_path)
        failed.fail(Error(message="no"))
        for running in (answered, failed):
            with pytest.raises(QueryError, match="return already set"):
                running.answer("2")
            with pytest.raises(QueryError, match="return already set"):
                running.fail(Error(message="late"))
        assert (answered.value, failed.value) == ("1", None)


async def test_what_a_function_wrote_is_read_as_it_is_now(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        running = start_call(session, tmp_path)
        digests = set()
        for text in ("one", "two", "one"):
            (tmp_path / "scratch/made.txt").write_text(text)
            digests.add(session.identify(await running.workdir_file("made.txt")))
        assert len(digests) == 2


@pytest.mark.parametrize("path", ["../secret", "a/../../secret"])
async def test_no_path_leads_out_of_the_directory(
    open_a_session: OpenSession, tmp_path: Path, path: str
) -> None:
    async with open_a_session() as session:
        running = start_call(session, tmp_path)
        with pytest.raises(QueryError, match="escapes"):
            await running.workdir_file(path)
        with pytest.raises(PathError):
            await running.workdir_directory("none", include=[], exclude=[], gitignore=False)


async def test_a_link_leads_to_a_file_of_the_container_never_of_the_host(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("of the host")
    async with open_a_session() as session:
        running = start_call(session, tmp_path)
        (tmp_path / "scratch/link").symlink_to(tmp_path / "outside")
        with pytest.raises(PathNotFound):
            await running.workdir_file("link")


async def test_only_the_process_of_a_call_has_one(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        running = start_call(session, tmp_path)
        client = session.admit(namespace="mod(m)", process=running.process, function=running)
        assert function_process_of(client) is running
        assert function_process_of(session.main) is None


async def test_a_remembered_result_needs_no_process(
    open_a_session: OpenSession, tmp_path: Path
) -> None:

    function = Function(name="greet", return_type=TEXT)
    async with open_a_session() as session:
        module = start_call(session, tmp_path).module
        key = results.key_of(module.digest, "MyMod", "greet", None, {"name": "x"})
        results.remember(session.store.index, key, "hello", seconds=60, load=session.load)
        caller = Caller(session=session, module=module)
        assert await caller.call("MyMod", function, None, {"name": "x"}) == "hello"


def test_calls_have_the_names_of_the_api() -> None:
    assert call_name("my-mod", "MyMod", Function(name="", return_type=TEXT)) == "myMod"
    assert call_name("my-mod", "MyMod", Function(name="do_it", return_type=TEXT)) == "MyMod.doIt"
    assert call_name("my-mod", "Report", Function(name="a", return_type=TEXT)) == "MyModReport.a"
