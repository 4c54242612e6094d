"""Help is laid out as cobra lays it out."""

from __future__ import annotations

from layerline.cli.display.help import Page, columns, usages
from layerline.cli.flags import Flag, FlagSet, parse_bool


def flag(name: str, usage: str, *, kind: str = "string", default: str = "", **more: str) -> Flag:
    return Flag(name=name, kind=kind, parse=str, usage=usage, default=default, **more)  # type: ignore[arg-type]


def test_flags_are_aligned_and_their_usage_is_wrapped_at_79_columns() -> None:
    made = [
        flag(
            "allow-llm",
            "List of URLs of remote modules allowed to access LLM APIs, or 'all' to "
            "bypass restrictions for the entire session",
            kind="stringSlice",
        ),
        Flag(name="json", short="j", kind="bool", parse=parse_bool, usage="Present result as JSON"),
    ]
    assert usages(made) == (
        "      --allow-llm strings   List of URLs of remote modules allowed to\n"
        "                            access LLM APIs, or 'all' to bypass\n"
        "                            restrictions for the entire session\n"
        "  -j, --json                Present result as JSON\n"
    )


def test_a_default_is_told_in_quotes_for_a_string_only() -> None:
    assert usages([flag("name", "Who", default="world")]).rstrip().endswith('Who (default "world")')
    assert usages([flag("n", "N", kind="int", default="3")]).rstrip().endswith("N (default 3)")
    assert usages([flag("n", "N", kind="int", default="0")]).rstrip().endswith("N")


def test_required_flags_come_first_and_are_marked() -> None:
    local = FlagSet()
    local.add(flag("alpha", "First by name"))
    local.add(flag("beta", "Wanted")).required = True
    page = Page(about="-", path="layerline call x", local=local)
    assert page.text() == page.text()  # rendering leaves the flags alone
    text = page.text()
    assert text.index("--beta") < text.index("--alpha")
    assert text.count("[required]") == 1


def test_commands_are_sorted_and_padded_to_eleven_columns() -> None:
    page = Page(about="", path="layerline call report", use="<function>")
    page.commands = {"Functions": [("name", "-"), ("count", "How many")]}
    assert page.text() == (
        "-\n\nUSAGE\n  layerline call report <function>\n\nFUNCTIONS\n"
        "  count         How many\n  name          -\n\n"
        'Use "layerline call report [command] --help" for more information about a command.\n'
    )


def test_a_command_without_anything_shows_its_usage_alone() -> None:
    text = Page(about="-", path="layerline call number").text()
    assert text == "-\n\nUSAGE\n  layerline call number\n"


def test_columns_are_three_spaces_apart() -> None:
    assert columns([("Name", "Description"), ("a-long-one", "-")]) == (
        "Name         Description\na-long-one   -\n"
    )
