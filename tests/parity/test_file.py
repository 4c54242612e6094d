"""Files: lines, replacements, and files that containers take in."""

from __future__ import annotations

import pytest

from tests.parity.conftest import Case, ParitySession, box, directory, sh

pytestmark = pytest.mark.privileged

LINES = "core/file.go, Contents, reads lines that end in a newline and counts from 1"
REPLACES = "core/file.go, WithReplaced"
INTO = "core/container.go makes a file and copies it to the path, as withFile does"


def text(selection: str) -> str:
    """A query that begins with a file of some lines."""
    return directory(
        r'withNewFile(path: "a", contents: "Hello world\nfoo bar\nhello again\r3\n4") '
        f'{{ file(path: "a") {{ {selection} }} }}'
    )


CASES = [
    Case(
        pins="a carriage return ends no line",
        why=LINES,
        query=text("contents(offsetLines: 2, limitLines: 1)"),
        answer="hello again\r3\n",
    ),
    Case(
        pins="a negative limit is none",
        why=LINES,
        query=text("contents(offsetLines: 3, limitLines: -1)"),
        answer="4",
    ),
    Case(
        pins="a negative offset is none",
        why=LINES,
        query=text("contents(offsetLines: -1, limitLines: 1)"),
        answer="Hello world\n",
    ),
    Case(
        pins="all from a line on",
        why=REPLACES,
        query=text(
            'withReplaced(search: "o", replacement: "0", all: true, firstFrom: 2) '
            "{ contents(limitLines: 2) }"
        ),
        answer="Hello world\nf00 bar\n",
    ),
    Case(
        pins="several matches are reported with line and column",
        why=REPLACES,
        query=text('withReplaced(search: "o", replacement: "0") { contents }'),
        error=r"found multiple times: line 1 \(4-5\), line 1 \(7-8\), line 2 \(1-2\)",
    ),
    Case(
        pins="a name that is a path is refused in Go's quotes",
        why="core/file.go: file name %q must not contain a directory",
        query=text('withName(name: "x/y") { name }'),
        error='file name "x/y" must not contain a directory',
    ),
    Case(
        pins="withNewFile of a container onto a directory goes into it",
        why=INTO,
        query=box(
            'withNewFile(path: "/etc", contents: "x") { file(path: "/etc/etc") { contents } }'
        ),
        answer="x",
    ),
    Case(
        pins="withNewFile of a container replaces a link",
        why=INTO,
        query=box(
            'withSymlink(target: "/etc/passwd", linkName: "/l") '
            '{ withNewFile(path: "/l", contents: "x") '
            f"{{ {sh('test -L /l || cat /l; head -c4 /etc/passwd')} }} }}"
        ),
        answer="xroot",
    ),
    Case(
        pins="withSymlink expands the target as well",
        why="core/schema/container.go, withSymlink",
        query=box(
            'withEnvVariable(name: "T", value: "/tmp") { withSymlink(target: "$T", '
            f'linkName: "/l", expand: true) {{ {sh("readlink /l")} }} }}'
        ),
        answer="/tmp\n",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(session: ParitySession, case: Case) -> None:
    session.check(case)
