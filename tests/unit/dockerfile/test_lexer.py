"""Comments, continuations, heredocs and directives, as the engine and the doctor read them."""

from __future__ import annotations

import pytest

from layerline.dockerfile_lexer import Heredoc, read_source
from layerline.doctor import dockerfile as doctor
from layerline.engine.dockerfile import parser as engine
from layerline.errors import QueryError


def rests(text: str) -> list[str]:
    return [line.rest for line in read_source(text).lines]


def test_continuations_join_lines_over_comments_and_empty_ones() -> None:
    assert rests("RUN a \\\n  # no\n\n  && b \\ \n && c\nRUN d\n") == ["a   && b  && c", "d"]


def test_a_hash_inside_a_line_is_no_comment() -> None:
    assert rests("RUN echo a # b") == ["echo a # b"]


def test_windows_line_ends_and_a_byte_order_mark_are_not_part_of_words() -> None:
    assert rests("\ufeffFROM a\r\nRUN b \\\r\n c\r\n") == ["a", "b  c"]


def test_keywords_are_read_in_any_case() -> None:
    assert [line.keyword for line in read_source("from a\nRun b\n").lines] == ["FROM", "RUN"]


def test_a_line_knows_where_it_begins() -> None:
    assert [line.number for line in read_source("# c\n\nFROM a\nRUN b \\\n c\nRUN d").lines] == [
        3,
        4,
        6,
    ]


def test_directives_before_the_first_line_count() -> None:
    source = read_source("# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\n b\\")
    assert (source.syntax, source.escape, source.lines[0].rest) == (
        "docker/dockerfile:1",
        "`",
        "a  b\\",
    )


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert read_source("# hello\n# escape=`\nRUN a").escape == "\\"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# escape=x\nRUN a", "invalid escape token"),
        ("# escape=`\n# escape=`\nRUN a", "only one escape parser directive"),
        ("# nothing\n", "file with no instructions"),
        ("RUN <<EOF\na\n", "unterminated heredoc"),
    ],
)
def test_defects_are_listed_and_the_engine_refuses_them(text: str, message: str) -> None:
    assert message in read_source(text).errors[0]
    with pytest.raises(QueryError, match=message):
        engine.parse(text)
    assert isinstance(doctor.parse(text), tuple)


def test_flags_are_apart_from_arguments() -> None:
    line = read_source('COPY --from=a --chown="x y" --link b --c d').lines[0]
    assert (line.flags, line.rest) == (("--from=a", "--chown=x y", "--link"), "b --c d")


def test_a_heredoc_keeps_its_bytes_and_ends_at_its_name() -> None:
    first, second = read_source("RUN <<EOF\n# kept \\\n\n  x\nEOF\nRUN b\n").lines
    assert first.heredocs == (
        Heredoc(name="EOF", raw="# kept \\\n\n  x\n", expand=True, chomp=False),
    )
    assert second.rest == "b"


def test_a_dash_cuts_leading_tabs() -> None:
    document = read_source("RUN <<-E\n\t\ta\n\tb\n\tE\n").lines[0].heredocs[0]
    assert (document.raw, document.text) == ("\t\ta\n\tb\n", "a\nb\n")


def test_a_quoted_name_asks_for_no_expansion() -> None:
    assert not read_source("COPY <<'E' /x\n$A\nE\n").lines[0].heredocs[0].expand


def test_several_heredocs_follow_each_other() -> None:
    documents = read_source("COPY <<A <<B /x/\n1\nA\n2\nB\n").lines[0].heredocs
    assert [(d.name, d.raw) for d in documents] == [("A", "1\n"), ("B", "2\n")]


@pytest.mark.parametrize("text", ['RUN ["echo", "<<EOF"]', 'RUN echo "<< EOF"', "ENV A=<<EOF"])
def test_what_only_looks_like_a_heredoc_is_none(text: str) -> None:
    assert read_source(text).lines[0].heredocs == ()


def test_a_trigger_keeps_its_heredoc() -> None:
    assert read_source("ONBUILD RUN <<E\na\nE\n").lines[0].texts() == "RUN <<E\na\nE"


SHARED = {
    "continuation": "FROM a\nRUN b \\\n  # no\n\n  && c\nUSER d\n",
    "escape": "# syntax=x\n# escape=`\nFROM a\nRUN b `\n  c\\\nUSER d\n",
    "escape after a comment": "# hi\n# escape=`\nFROM a\nRUN b `\nUSER d\n",
    "heredocs": "FROM a\nCOPY <<A <<'B' /x/\n1\nA\nRUN no\nB\nRUN <<-E\n\tUSER no\n\tE\nUSER d\n",
    "trigger": "FROM a\nONBUILD RUN <<E\nUSER no\nE\nUSER d\n",
    "flags": "from --platform=p a\nCOPY --from='b c' --link x y\nUSER d\n",
    "exec form": 'FROM a\nRUN ["x", "<<E"]\nUSER d\n',
    "windows": "\ufeffFROM a\r\nRUN b \\\r\n c\r\nUSER d\r\n",
}


@pytest.mark.parametrize("text", SHARED.values(), ids=SHARED)
def test_the_engine_and_the_doctor_read_the_same_instructions(text: str) -> None:
    (stage,) = engine.parse(text).stages
    from_, *rest = doctor.parse(text)
    assert from_.text == stage.base == "a"
    # A class of the engine is named after its keyword.
    assert [each.keyword for each in rest] == [
        type(each).__name__.upper() for each in stage.instructions
    ]
    assert rest[-1].line == text.count("\n")


def test_the_doctor_sees_the_script_of_a_heredoc_and_no_continuation() -> None:
    first, second = doctor.parse("RUN <<E\n\tpip install x\nE\nRUN a \\\n    && 'b  c'\n")
    assert (first.text, second.text) == ("<<E ; pip install x", "a && 'b  c'")
