"""Directories: what a merge does to links, kinds and modes; removal by wildcards; names; stat."""

from __future__ import annotations

import pytest

from tests.parity.conftest import Case, ParitySession, box, directory, sh

pytestmark = pytest.mark.privileged

COPIES = "util/layercopy of the Dagger engine; its tests follow links to directories"
LOOKS = "util/layercopy gives a directory that it brings up from below the source's looks"
STATS = "core/directory.go, Stat"
REMOVES = "core/directory.go, withoutPathsFromSnapshot"

FILE = directory('withNewFile(path: "x", contents: "hi") { file(path: "x") { id } }')
TOOL = directory(
    'withNewFile(path: "bin/tool", contents: "#!/bin/sh\\necho tool\\n", permissions: 493) { id }'
)


def new_file(path: str, then: str, contents: str = "") -> str:
    """A selection: a file, and what is asked after it."""
    return f'withNewFile(path: "{path}", contents: "{contents}") {{ {then} }}'


CASES = [
    Case(
        pins="a directory merged where the image has a link to one goes through the link",
        why=COPIES,
        given=TOOL,
        query=box(f'withDirectory(path: "/", source: "$given") {{ {sh("readlink /bin; tool")} }}'),
        answer="usr/bin\ntool\n",
    ),
    Case(
        pins="withDirectory onto a file replaces it",
        why=COPIES,
        given=TOOL,
        query=directory(
            new_file("t", 'withDirectory(path: "t", source: "$given") { glob(pattern: "**") }')
        ),
        answer=["t/", "t/bin/", "t/bin/tool"],
    ),
    Case(
        pins="an existing directory takes the mode of the source's root",
        why=LOOKS,
        given=directory(
            'withNewDirectory(path: "d", permissions: 448) { directory(path: "d") { id } }'
        ),
        query=directory(
            new_file(
                "t/f",
                'withDirectory(path: "t", source: "$given") { stat(path: "t") { permissions } }',
            )
        ),
        answer=0o700,
    ),
    Case(
        pins="withFile replaces a directory of the file's name",
        why=COPIES,
        given=FILE,
        query=directory(
            'withNewDirectory(path: "d/x", permissions: 493) '
            '{ withFile(path: "d", source: "$given") { file(path: "d/x") { contents } } }'
        ),
        answer="hi",
    ),
    Case(
        pins="withFile replaces a link, not what it leads to",
        why=COPIES,
        given=FILE,
        query=directory(
            new_file(
                "a",
                'withSymlink(target: "a", linkName: "l") { withFile(path: "l", '
                'source: "$given") { file(path: "a") { contents } } }',
                "1",
            )
        ),
        answer="1",
    ),
    Case(
        pins="the directory that a final slash makes belongs to the owner",
        why="util/layercopy makes it with the owner of the copy",
        given=directory('withFile(path: "n/m/", source: "$given", owner: "1000:1001") { id }'),
        query=box(
            'withMountedDirectory(path: "/m", source: "$given") '
            f"{{ {sh('stat -c %u:%g /m/n /m/n/m /m/n/m/x')} }}"
        ),
        answer="0:0\n1000:1001\n1000:1001\n",
    ),
    Case(
        pins="withNewFile through a link writes what it leads to",
        why="core/directory.go opens the resolved path",
        query=directory(
            new_file(
                "a",
                'withSymlink(target: "a", linkName: "l") '
                '{ withNewFile(path: "l", contents: "2") { file(path: "a") { contents } } }',
            )
        ),
        answer="2",
    ),
    Case(
        pins="wildcards in the middle of a removed path",
        why=REMOVES,
        query=directory(
            new_file(
                "x/a.t", new_file("y/a.t", 'withoutFile(path: "*/a.t") { glob(pattern: "**") }')
            )
        ),
        answer=["x/", "y/"],
    ),
    Case(
        pins="only a star makes a removed path a pattern",
        why=REMOVES,
        query=directory(
            new_file("[a]", new_file("a", 'withoutFiles(paths: ["[a]", "?"]) { entries }'))
        ),
        answer=["a"],
    ),
    Case(
        pins="removal below a file is an error",
        why=REMOVES,
        query=directory(new_file("a", 'withoutFile(path: "a/b") { entries }')),
        error="not a directory",
    ),
    Case(
        pins="exists below a file is an error",
        why=STATS,
        query=directory(new_file("a", 'exists(path: "a/b")')),
        error="not a directory",
    ),
    Case(
        pins="exists of no path is false",
        why=STATS,
        query=directory(new_file("a", 'exists(path: "")')),
        answer=False,
    ),
    Case(
        pins="stat of no path is an error",
        why=STATS,
        query=directory('stat(path: "") { name }'),
        error="no such file or directory",
    ),
    Case(
        pins="stat through a link tells the name of what it leads to",
        why=STATS,
        query=directory(
            new_file("a", 'withSymlink(target: "a", linkName: "l") { stat(path: "l") { name } }')
        ),
        answer="a",
    ),
    Case(
        pins="a new directory above is refused",
        why="core/directory.go, WithNewDirectory",
        query=directory('withNewDirectory(path: "a/../../x") { entries }'),
        error="cannot create directory outside parent: ../x",
    ),
    Case(
        pins="a name of 256 characters is refused",
        why="the protocol's section 5.5, and core/directory.go, ValidateFileName",
        query=directory(new_file("n" * 256, "entries")),
        error="File name length exceeds the maximum supported 255 characters",
    ),
    Case(
        pins="owners in a subdirectory are looked up from the root of the tree",
        why="core/directory.go, resolveDirectoryOwner, reads from the snapshot's root",
        query=directory(
            new_file(
                "etc/passwd",
                new_file(
                    "s/f", 'directory(path: "s") { chown(path: "/", owner: "bob") { entries } }'
                ),
                "bob:x:77:78::/:/bin/sh",
            )
        ),
        answer=["f"],
    ),
    Case(
        pins="an owner's name needs a passwd file",
        why="core/directory.go, resolveDirectoryOwner",
        query=directory(new_file("a", 'chown(path: "a", owner: "bob") { entries }')),
        error="open /etc/passwd: no such file or directory",
    ),
    Case(
        pins="a pattern that is none is an error of the query",
        why="moby's patternmatcher: syntax error in pattern",
        query=directory('filter(include: ["["]) { entries }'),
        error="syntax error in pattern",
    ),
    Case(
        pins="a later pattern takes back what an earlier one left out",
        why="moby's patternmatcher, and the protocol's section 5.5: the last match wins",
        query=directory(
            new_file(
                "a.go",
                new_file("p/q/c", 'filter(exclude: ["p/*", "!p/q"]) { glob(pattern: "**") }'),
            )
        ),
        answer=["a.go", "p/", "p/q/", "p/q/c"],
    ),
    Case(
        pins="a search cannot leave the directory",
        why="core/directory.go, Search",
        query=directory(new_file("a", 'search(pattern: "x", paths: ["../b"]) { filePath }')),
        error="path cannot escape directory: ../b",
    ),
    Case(
        pins="a patch that does not apply",
        why="core/directory.go, applyGitPatch",
        query=directory(
            new_file(
                "f", r'withPatch(patch: "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n") { entries }'
            )
        ),
        error="(?s)git apply: .*patch does not apply",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(session: ParitySession, case: Case) -> None:
    if "$given" in case.given:
        given = case.given.replace("$given", session.identity(FILE))
        case = Case(pins=case.pins, why=case.why, query=case.query, given=given, answer=case.answer)
    session.check(case)
