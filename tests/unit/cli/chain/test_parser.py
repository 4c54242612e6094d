"""The words of a call become functions with their arguments."""

from __future__ import annotations

import pytest

from layerline.cli.chain.defaults import UserDefaults
from layerline.cli.chain.parser import Parser, Root, callable_members, constructor_of
from layerline.cli.commands.call import packing
from layerline.cli.flags import FlagSet
from layerline.cli.options import global_flags
from layerline.engine.module.definitions import (
    EnumTypeDef,
    EnumValueTypeDef,
    FieldTypeDef,
    Function,
    FunctionArg,
    ListTypeDef,
    Module,
    ObjectTypeDef,
    TypeDef,
)
from layerline.engine.module.types import Types, reference
from layerline.errors import UsageError

TEXT = TypeDef(kind="STRING_KIND")
FLAVOR = TypeDef(
    kind="ENUM_KIND",
    name="Flavor",
    as_enum=EnumTypeDef(
        name="Flavor",
        members=(EnumValueTypeDef(name="CPU", value="cpu"), EnumValueTypeDef(name="CUDA")),
    ),
)
CONTAINER = reference("Container")


def arg(name: str, type_def: TypeDef = TEXT, default: str | None = None) -> FunctionArg:
    return FunctionArg(name=name, type_def=type_def, default_value=default)


MAIN = ObjectTypeDef(
    name="Sample",
    fields=(FieldTypeDef(name="name", type_def=TEXT),),
    functions=(
        Function(name="greet_all", return_type=TEXT, args=(arg("who"), arg("mark", default='"!"'))),
        Function(name="flavor", return_type=FLAVOR, args=(arg("f", FLAVOR, '"CPU"'),)),
        Function(name="ctr", return_type=CONTAINER, args=()),
        Function(
            name="push", return_type=TEXT, args=(arg("to"), arg("compression", default='"zstd"'))
        ),
        Function(
            name="many",
            return_type=TEXT,
            args=(
                arg(
                    "compression",
                    TypeDef(kind="LIST_KIND", as_list=ListTypeDef(element_type_def=TEXT)),
                    "[]",
                ),
            ),
        ),
        Function(name="eat", return_type=TEXT, args=(arg("food", reference("Report")),)),
    ),
    constructor=Function(
        name="", return_type=reference("Sample"), args=(arg("name", default='"world"'),)
    ),
)
TYPES = Types(
    name="sample",
    definition=Module(
        objects=(TypeDef(kind="OBJECT_KIND", name="Sample", as_object=MAIN),), enums=(FLAVOR,)
    ),
)


def parser(*, wants_help: bool = False, types: Types | None = None) -> Parser:
    types = types or TYPES
    root = Root(
        path="layerline call",
        about="Call",
        use="[options] <function>",
        type_def=reference("Sample"),
        own=FlagSet(),
        inherited=global_flags(),
        member=constructor_of(types),
    )
    return Parser(types, root, wants_help=wants_help)


def test_constructor_flags_come_first_and_functions_chain_into_the_core() -> None:
    words = ["--name=bob", "ctr", "with-exec", "--args=echo,hi", "stdout"]
    selected = parser().parse(words)
    assert [one.member.api_name for one in selected] == ["", "ctr", "withExec", "stdout"]
    assert selected[0].given_values == {"name": "bob"}
    assert selected[2].given_values == {"args": ["echo", "hi"]}


def test_only_given_flags_are_passed_on() -> None:
    selected = parser().parse(["greet-all", "--who=x"])
    assert selected[1].given_values == {"who": "x"}


def test_an_enum_is_given_by_its_member_in_any_case() -> None:
    assert parser().parse(["flavor", "--f=cuda"])[1].given_values == {"f": "CUDA"}


@pytest.mark.parametrize(
    ("words", "compression"),
    [
        (["ctr", "export", "--path=x"], ""),
        (["ctr", "publish", "--address=x", "--forced-compression=Zstd"], "ZSTD"),
        (["push", "--to=x"], "zstd"),
        (["push", "--to=x", "--compression=gzip"], "gzip"),
        (["push", "--to=x", "--compression=best"], None),
        (["greet-all", "--who=x"], None),
        (["many", "--compression=gzip"], None),
        (["ctr", "rootfs", "export", "--path=x"], None),
    ],
)
def test_a_pipeline_that_ends_in_an_image_says_how_to_pack_it(
    words: list[str], compression: str | None
) -> None:
    assert packing(parser().parse(words)) == compression


@pytest.mark.parametrize(
    ("words", "message", "usage"),
    [
        (["nofunc"], 'unknown command "nofunc" for "layerline call"', "layerline call"),
        (
            ["name", "extra"],
            'unknown command "extra" for "layerline call name"',
            "layerline call name",
        ),
        (["name", "--nope"], "unknown flag: --nope", "layerline call name"),
        (
            ["nam"],
            'unknown command "nam" for "layerline call"; did you mean "name"?',
            "layerline call",
        ),
        (
            ["greet-all", "--whoo=x"],
            "unknown flag: --whoo; did you mean --who?",
            "layerline call greet-all",
        ),
        (["greet-all"], 'required flag(s) "who" not set', "layerline call greet-all"),
        (
            ["flavor", "--f=nope"],
            'invalid argument "nope" for "--f" flag: value should be one of CPU,CUDA',
            "layerline call flavor",
        ),
    ],
)
def test_mistakes_are_told_with_the_command_that_helps(
    words: list[str], message: str, usage: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parser().parse(words)
    assert (str(caught.value), caught.value.usage) == (message, usage)


def test_functions_with_arguments_that_no_text_can_give_are_skipped() -> None:
    usable, skipped = callable_members(TYPES, reference("Sample"))
    assert [member.command for member in usable] == [
        "name",
        "greet-all",
        "flavor",
        "ctr",
        "push",
        "many",
    ]
    assert skipped == ["eat"]


def test_help_of_a_function_needs_no_required_flag() -> None:
    made = parser(wants_help=True)
    made.parse(["greet-all"])
    text = made.page.text()
    assert "USAGE\n  layerline call greet-all [arguments]\n" in text
    assert "--who string" in text
    assert "[required]" in text


def test_help_shows_the_defaults_of_the_user() -> None:
    made = parser(wants_help=True)
    made.defaults = UserDefaults(
        main_object="Sample", texts={"greetallwho": "Ada", "manycompression": "a,b"}
    )
    made.parse(["greet-all"])
    text = made.page.text()
    assert "--who string" in text
    assert '(default "Ada")' in text
    assert "[required]" not in text
    made.parse(["many"])
    assert "(default [a,b])" in made.page.text()


def test_help_says_what_is_deprecated() -> None:
    old = Function(
        name="old",
        description="An old one.\nMore.",
        return_type=TEXT,
        deprecated="use new",
        args=(FunctionArg(name="size", type_def=TEXT, deprecated=""),),
    )
    main = ObjectTypeDef(
        name="Sample",
        functions=(old,),
        fields=(FieldTypeDef(name="level", type_def=TEXT, deprecated="use size"),),
    )
    types = Types(
        name="sample",
        definition=Module(objects=(TypeDef(kind="OBJECT_KIND", name="Sample", as_object=main),)),
    )
    made = parser(wants_help=True, types=types)
    made.parse([])
    assert "An old one. (deprecated: use new)" in made.page.text()
    assert "- (deprecated: use size)" in made.page.text()
    made.parse(["old"])
    assert made.page.text().startswith("An old one.\nMore. (deprecated: use new)\n")
    assert "(deprecated)" in made.page.text().partition("ARGUMENTS")[2]
