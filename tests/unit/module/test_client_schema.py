"""What the client of a module is served of the modules that it depends on.

The dependency's process is not run: its results are those that a store remembers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from graphql import GraphQLObjectType

from layerline.engine.api.execute import answer
from layerline.engine.module import results
from layerline.engine.module.api_types import member_name
from layerline.engine.module.calls import Caller
from layerline.engine.module.client_code import client_code
from layerline.engine.module.client_schema import client_schema
from layerline.engine.module.definitions import (
    EnumTypeDef,
    EnumValueTypeDef,
    FieldTypeDef,
    Function,
    FunctionArg,
    InterfaceTypeDef,
    ListTypeDef,
    Module,
    ObjectTypeDef,
    TypeDef,
)
from layerline.engine.module.loading import load_module
from layerline.engine.module.source import read_config
from tests.unit.module.fetching import no_fetch
from tests.unit.module.test_dependencies import write

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Client, Session
    from layerline.engine.module.definitions import Json
    from tests.unit.conftest import OpenSession

TEXT = TypeDef(kind="STRING_KIND")
CASE = TypeDef(
    kind="ENUM_KIND",
    name="Case",
    as_enum=EnumTypeDef(name="Case", members=(EnumValueTypeDef(name="BigOne", value="big"),)),
)
WORD = TypeDef(kind="OBJECT_KIND", name="Word")
NAMED = TypeDef(kind="INTERFACE_KIND", name="Named")
DEFINITION = Module(
    objects=(
        TypeDef(
            kind="OBJECT_KIND",
            name="TextBase",
            as_object=ObjectTypeDef(
                name="TextBase",
                constructor=Function(
                    name="",
                    return_type=TypeDef(kind="OBJECT_KIND", name="TextBase"),
                    args=(FunctionArg(name="the_prefix", type_def=TEXT, default_value='"p"'),),
                ),
                functions=(
                    Function(name="make_word", return_type=WORD),
                    Function(
                        name="words",
                        return_type=TypeDef(
                            kind="LIST_KIND", as_list=ListTypeDef(element_type_def=WORD)
                        ),
                    ),
                    Function(
                        name="name_of",
                        return_type=TEXT,
                        args=(FunctionArg(name="thing", type_def=NAMED),),
                    ),
                ),
            ),
        ),
        TypeDef(
            kind="OBJECT_KIND",
            name="Word",
            as_object=ObjectTypeDef(
                name="Word",
                fields=(FieldTypeDef(name="the_text", type_def=TEXT),),
                functions=(
                    Function(name="name", return_type=TEXT),
                    Function(
                        name="cased",
                        return_type=CASE,
                        args=(FunctionArg(name="case", type_def=CASE),),
                    ),
                ),
            ),
        ),
    ),
    interfaces=(
        TypeDef(
            kind="INTERFACE_KIND",
            name="Named",
            as_interface=InterfaceTypeDef(
                name="Named", functions=(Function(name="name", return_type=TEXT),)
            ),
        ),
    ),
    enums=(CASE,),
)


async def serve(session: Session, tmp_path: Path) -> Client:
    """A client of a module that calls the module `text-base` by the name `base`."""
    (tmp_path / ".git").mkdir(exist_ok=True)
    write(tmp_path / "text", "text-base")
    root = write(tmp_path / "app", "app", {"name": "base", "source": "../text"})
    app = load_module(read_config(root), session.store, no_fetch)
    text = app.dependencies[0].module
    text.remember(session.store, DEFINITION)

    def remember(owner: str, name: str, parent: Json, given: dict[str, Json], value: Json) -> None:
        key = results.key_of(text.digest, owner, name, parent, given)
        results.remember(session.store.index, key, value, seconds=60, load=session.load)

    main, word = {"prefix": "p"}, {"the_text": "abc"}
    remember("TextBase", "", None, {"the_prefix": "p"}, main)
    remember("TextBase", "make_word", main, {}, word)
    remember("TextBase", "words", main, {}, [word, {"the_text": "d"}])
    remember("Word", "name", word, {}, "its name")
    remember("Word", "cased", word, {"case": "BigOne"}, "BigOne")
    schema = await Caller.of(session, app).schema(defined=False)
    assert schema is not None
    session.main.schema = schema.served
    return session.main


async def ask(session: Session, query: str) -> Json:
    got = await answer(query, session.call())
    assert got.failure is None, got.body
    return got.body["data"]


async def test_the_types_of_a_dependency_have_its_callers_name_for_it(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        await serve(session, tmp_path)
        found = await ask(session, "{ base { makeWord { theText __typename } } }")
        assert found["base"]["makeWord"] == {"theText": "abc", "__typename": "BaseWord"}


async def test_objects_of_a_dependency_have_ids(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        await serve(session, tmp_path)
        words = (await ask(session, "{ base { words { id } } }"))["base"]["words"]
        assert len({word["id"] for word in words}) == 2
        name = json.dumps(words[1]["id"])
        text = "... on BaseWord { theText }"
        assert await ask(session, f"{{ node(id: {name}) {{ {text} }} }}") == {
            "node": {"theText": "d"}
        }
        loaded = await ask(session, f"{{ loadBaseWordFromID(id: {name}) {{ theText }} }}")
        assert loaded == {"loadBaseWordFromID": {"theText": "d"}}


async def test_an_object_is_used_by_an_interface_that_it_has_the_functions_of(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        await serve(session, tmp_path)
        chosen = "{ id asBaseNamed { name } }"
        word = (await ask(session, f"{{ base {{ makeWord {chosen} }} }}"))["base"]["makeWord"]
        assert word["asBaseNamed"] == {"name": "its name"}
        taken = f"{{ node(id: {json.dumps(word['id'])}) {{ ... on BaseNamed {{ name }} }} }}"
        assert await ask(session, taken) == {"node": {"name": "its name"}}


async def test_members_of_enums_are_spelled_as_the_api_has_them(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        await serve(session, tmp_path)
        found = await ask(session, "{ base { makeWord { cased(case: BIG_ONE) } } }")
        assert found["base"]["makeWord"]["cased"] == "BIG_ONE"


async def test_the_generated_client_has_the_names_of_the_sdk(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    async with open_a_session() as session:
        await serve(session, tmp_path)
        app = load_module(read_config(tmp_path / "app"), session.store, no_fetch)
        schema = await Caller.of(session, app).schema(defined=False)
        assert schema is not None
        code = client_code(schema)
        compile(code, "dependencies", "exec")
        for line in (
            "class BaseWordID(Scalar):",
            "    BIG_ONE = 'big'",
            "    def make_word(self) -> 'BaseWord':",
            "    async def words(self) -> 'list[BaseWord]':",
            "    async def name_of(self, thing: 'BaseNamed') -> 'str':",
            "    def base(self, *, the_prefix: 'str' = 'p') -> 'Base':",
            "    def load_base_word_from_id(self, id: 'BaseWordID') -> 'BaseWord':",
        ):
            assert line in code.splitlines()


@pytest.mark.parametrize(
    ("name", "spelled"), [("RED", "RED"), ("A_B", "A_B"), ("BigOne", "BIG_ONE"), ("low", "LOW")]
)
def test_member_name(name: str, spelled: str) -> None:
    assert member_name(name) == spelled


def test_a_module_of_an_old_engine_has_the_names_of_that_time() -> None:
    """View(BeforeVersion("v0.19.0")) of core/schema/directory.go and container.go at v0.21.8."""
    old = client_schema([], engine="v0.18.19")
    assert old.old.keys() == {"Container", "Directory", "GitRepository"}
    query = old.schema.query_type
    assert query is not None
    folder = old.schema.type_map["Directory"]
    assert isinstance(folder, GraphQLObjectType)
    assert "directory" in folder.fields["withDirectory"].args
    code = client_code(old)
    assert "class Directory(Directory):" in code
    assert "def with_directory(self, path: 'str', directory: 'Directory', *, exclude:" in code
    assert "def build(self, context: 'Directory', *, dockerfile: 'str | None'" in code
    assert client_code(client_schema([], engine="v0.19.0")) == ""
    assert old.digest != client_schema([]).digest


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_module_is_served_itself_where_it_calls_itself(
    open_a_session: OpenSession, tmp_path: Path, *, enabled: bool
) -> None:
    (tmp_path / ".git").mkdir()
    root = write(tmp_path / "text", "text-base")
    document = json.loads((root / "dagger.json").read_text())
    document["sdk"]["experimental"] = {"SELF_CALLS": enabled}
    (root / "dagger.json").write_text(json.dumps(document))
    async with open_a_session() as session:
        module = load_module(read_config(root), session.store, no_fetch)
        module.remember(session.store, DEFINITION)
        schema = await Caller.of(session, module).schema(defined=True)
        assert schema is not None
        query = schema.schema.query_type
        assert query is not None
        assert ("textBase" in query.fields) == enabled
        assert ("def text_base(" in client_code(schema)) == enabled
