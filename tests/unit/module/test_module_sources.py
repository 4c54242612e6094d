"""Modules found by queries: what is said of them, and that they can be used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.api.execute import answer
from tests.unit.conftest import RootedProcess
from tests.unit.module.test_dependencies import write

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Client, Session
    from layerline.engine.module.definitions import Json
    from tests.unit.conftest import OpenSession


async def ask(session: Session, query: str, client: Client | None = None) -> Json:
    got = await answer(query, session.call(client))
    return got.body["data"] if got.failure is None else str(got.failure)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    write(tmp_path / "text", "text-base")
    return write(tmp_path / "app", "app", {"name": "base", "source": "../text"})


async def test_a_local_source_says_what_its_configuration_says(
    open_a_session: OpenSession, module: Path
) -> None:
    chosen = "kind moduleName engineVersion sourceRootSubpath configExists sdk { source } "
    chosen += "dependencies { moduleName moduleOriginalName }"
    async with open_a_session() as session:
        query = f"{{ moduleSource(refString: {json.dumps(str(module))}) {{ {chosen} }} }}"
        assert (await ask(session, query))["moduleSource"] == {
            "kind": "LOCAL_SOURCE",
            "moduleName": "app",
            "engineVersion": "v0.21.8",
            "sourceRootSubpath": "app",
            "configExists": True,
            "sdk": {"source": "python"},
            "dependencies": [{"moduleName": "base", "moduleOriginalName": "text-base"}],
        }


async def test_a_directory_of_the_api_is_a_source(
    open_a_session: OpenSession, module: Path
) -> None:
    chosen = 'asModuleSource(sourceRootPath: "app") { kind moduleName dependencies { moduleName } }'
    where = json.dumps(str(module.parent))
    async with open_a_session() as session:
        query = f"{{ host {{ directory(path: {where}) {{ {chosen} }} }} }}"
        assert (await ask(session, query))["host"]["directory"]["asModuleSource"] == {
            "kind": "DIR_SOURCE",
            "moduleName": "app",
            "dependencies": [{"moduleName": "base"}],
        }


async def test_a_directory_of_the_api_leads_to_no_file_of_the_host(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    (tmp_path / "host.json").write_text('{"name": "stolen", "sdk": "python"}')
    link = json.dumps(str(tmp_path / "host.json"))
    made = f'withSymlink(target: {link}, linkName: "dagger.json")'
    async with open_a_session() as session:
        query = f"{{ directory {{ {made} {{ asModuleSource {{ moduleName }} }} }} }}"
        assert "leads out of its repository" in await ask(session, query)


async def test_module_code_finds_no_module_of_the_host(
    open_a_session: OpenSession, module: Path, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        guest = session.admit(namespace="guest", process=RootedProcess.at(tmp_path))
        query = f"{{ moduleSource(refString: {json.dumps(str(module))}) {{ moduleName }} }}"
        assert "only the main client" in await ask(session, query, guest)


async def test_names_in_type_definitions_are_those_of_the_api(open_a_session: OpenSession) -> None:
    """As function and withArg of core/typedef.go in Dagger v0.21.8 register them."""
    async with open_a_session() as session:
        text = await ask(session, "{ typeDef { withKind(kind: STRING_KIND) { id } } }")
        kind = json.dumps(text["typeDef"]["withKind"]["id"])
        made = f'function(name: "do_it", returnType: {kind})'
        given = f'withArg(name: "an_arg", typeDef: {kind}) {{ name args {{ name }} }}'
        found = await ask(session, f"{{ {made} {{ {given} }} }}")
        assert found["function"]["withArg"] == {"name": "doIt", "args": [{"name": "anArg"}]}


async def test_where_something_is_defined_is_said_again(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        place = "filename line column"
        where = 'sourceMap(filename: "src/main.py", line: 3, column: 5)'
        known = json.dumps((await ask(session, f"{{ {where} {{ id }} }}"))["sourceMap"]["id"])
        made = f'withObject(name: "thing", sourceMap: {known})'
        asked = f"{{ typeDef {{ {made} {{ asObject {{ name sourceMap {{ {place} }} }} }} }} }}"
        assert (await ask(session, asked))["typeDef"]["withObject"]["asObject"] == {
            "name": "Thing",
            "sourceMap": {"filename": "src/main.py", "line": 3, "column": 5},
        }


EDITS: dict[str, dict[str, Any]] = {
    'withName(name: "other")': {"moduleName": "other", "moduleOriginalName": "app"},
    'withSDK(source: "python")': {"sdk": {"source": "python"}},
    'withSourceSubpath(path: "src")': {"sourceSubpath": "app/src"},
    'withEngineVersion(version: "v0.20.1")': {"engineVersion": "v0.20.1"},
    'withEngineVersion(version: "latest") { withIncludes(patterns: ["*.md"])': {
        "withIncludes": {"engineVersion": "v0.21.8"}
    },
    'withoutDependencies(dependencies: ["base"])': {"dependencies": []},
    "withExperimentalFeatures(features: [SELF_CALLS])": {"moduleName": "app"},
}


@pytest.mark.parametrize("edit", EDITS)
async def test_a_source_is_given_another_configuration(
    open_a_session: OpenSession, module: Path, edit: str
) -> None:
    """The names are those of core/schema/modulesource.go of the Dagger engine."""
    (module / "src").mkdir(exist_ok=True)
    chosen = {
        "moduleName": "moduleName",
        "moduleOriginalName": "moduleOriginalName",
        "sdk": "sdk { source }",
        "sourceSubpath": "sourceSubpath",
        "engineVersion": "engineVersion",
        "dependencies": "dependencies { moduleName }",
    }
    wanted = EDITS[edit]
    inner = wanted.get("withIncludes", wanted)
    fields = " ".join(chosen[name] for name in inner)
    end = "}" * edit.count("{")
    where = json.dumps(str(module))
    async with open_a_session() as session:
        edited_source = f"{edit} {{ digest {fields} }} {end}"
        query = f"{{ moduleSource(refString: {where}) {{ digest {edited_source} }} }}"
        found = (await ask(session, query))["moduleSource"]
        before = found.pop("digest")
        [edited] = found.values()
        last = edited.get("withIncludes", edited)
        after = last.pop("digest")
        assert edited == wanted
        assert (before == after) == ("withName" in edit)


async def test_dependencies_are_added_by_their_sources(
    open_a_session: OpenSession, module: Path
) -> None:
    write(module.parent / "more", "more")
    where, more = json.dumps(str(module)), json.dumps(str(module.parent / "more"))
    async with open_a_session() as session:
        found = await ask(session, f"{{ moduleSource(refString: {more}) {{ id }} }}")
        name = json.dumps(found["moduleSource"]["id"])
        edit = f"withDependencies(dependencies: [{name}]) {{ dependencies {{ moduleName }} }}"
        query = f"{{ moduleSource(refString: {where}) {{ {edit} }} }}"
        assert (await ask(session, query))["moduleSource"]["withDependencies"] == {
            "dependencies": [{"moduleName": "base"}, {"moduleName": "more"}]
        }
        gone = 'withoutDependencies(dependencies: ["none"]) { digest }'
        query = f"{{ moduleSource(refString: {where}) {{ {gone} }} }}"
        assert 'dependency "none" was requested' in str(await ask(session, query))


async def test_another_sdk_and_code_outside_of_the_module_are_refused(
    open_a_session: OpenSession, module: Path
) -> None:
    where = json.dumps(str(module))
    async with open_a_session() as session:
        for edit, message in (
            ('withSDK(source: "go")', "runs only"),
            ('withSourceSubpath(path: "../text")', "outside of the module"),
        ):
            query = f"{{ moduleSource(refString: {where}) {{ {edit} {{ digest }} }} }}"
            assert message in str(await ask(session, query))
