"""Patterns mean what they mean to moby's patternmatcher and BuildKit's walk."""

from __future__ import annotations

import pytest

from layerline.patterns import Decision, Filter, Matcher, PatternError, is_local, parse_ignore

FILES = ("a.txt", "b.md", "d/c.txt", "d/e/f.txt")


def walk(files: tuple[str, ...], **patterns: list[str]) -> list[str]:
    """What a walk keeps, with BuildKit's rules."""
    path_filter = Filter(**patterns)
    everything = {
        "/".join(file.split("/")[:depth])
        for file in files
        for depth in range(1, file.count("/") + 2)
    }
    found: set[str] = set()
    dropped: list[str] = []
    for path in sorted(everything):
        if any(path.startswith(each + "/") for each in dropped):
            continue
        is_dir = path not in files
        decision = path_filter(path, is_dir=is_dir)
        if decision is Decision.DROP:
            dropped.append(path)
        elif decision is Decision.KEEP:
            parents = {path.rsplit("/", depth)[0] for depth in range(1, path.count("/") + 1)}
            found |= {path, *parents}
    return sorted(found)


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (["*.txt"], ["a.txt"]),
        (["**/*.txt"], ["a.txt", "d", "d/c.txt", "d/e", "d/e/f.txt"]),
        (["d"], ["d", "d/c.txt", "d/e", "d/e/f.txt"]),
        (["d/"], ["d", "d/c.txt", "d/e", "d/e/f.txt"]),
        (["./d/e"], ["d", "d/e", "d/e/f.txt"]),
        (["d//e/../e"], ["d", "d/e", "d/e/f.txt"]),
        (["*/c.txt"], ["d", "d/c.txt"]),
        (["nope"], []),
        (["  a.txt  ", ""], ["a.txt"]),
        (["**/*.txt", "!d/**"], ["a.txt"]),
        (["/a.txt"], []),
        (["**.txt"], ["a.txt", "d", "d/c.txt", "d/e", "d/e/f.txt"]),
    ],
)
def test_include_keeps_matches_and_their_parents(include: list[str], expected: list[str]) -> None:
    assert walk(FILES, include=include) == expected


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (["*.txt"], ["b.md", "d", "d/c.txt", "d/e", "d/e/f.txt"]),
        (["**/*.txt"], ["b.md", "d", "d/e"]),
        (["d"], ["a.txt", "b.md"]),
        (["d/**"], ["a.txt", "b.md", "d"]),
        (["**"], []),
        (["*", "!a.txt"], ["a.txt"]),
        (["*", "!**.txt"], ["a.txt", "d", "d/c.txt", "d/e", "d/e/f.txt"]),
        (["**.txt"], ["b.md", "d", "d/e"]),
        (["**/*.txt", "!d/e/f.txt"], ["b.md", "d", "d/e", "d/e/f.txt"]),
        (["d", "!d/e"], ["a.txt", "b.md", "d", "d/e", "d/e/f.txt"]),
        (["!a.txt", "*.txt"], ["b.md", "d", "d/c.txt", "d/e", "d/e/f.txt"]),
    ],
)
def test_exclude_drops_matches_unless_a_later_pattern_takes_them_back(
    exclude: list[str], expected: list[str]
) -> None:
    assert walk(FILES, exclude=exclude) == expected


def test_include_and_exclude_together() -> None:
    files = ("d/c.txt", "d/e/f.log", "x")
    assert walk(files, include=["d"], exclude=["d/e"]) == ["d", "d/c.txt"]


@pytest.mark.parametrize(
    ("pattern", "path", "matched"),
    [
        ("a?", "ab", True),
        ("a?", "a/", False),
        ("a[0-9]", "a1", True),
        ("a[0-9]", "ab", False),
        ("[^a]*", "b1", True),
        ("[^a]*", "a1", False),
        ("[!a]", "!", True),
        ("[a^]", "^", True),
        ("[[]", "[", True),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
        ("a.b", "axb", False),
        ("a+(b)|{c}$", "a+(b)|{c}$", True),
        ("a+(b)*", "a+(b)c", True),
        ("a+(b)*", "aab", False),
        ("x^y", "x^y", True),
        ("*", "a/b", False),
        ("**", "a/b/c", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "ax", False),
        ("a/**/x", "a/x", True),
        ("a/**/x", "a/b/c/x", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a**", "abc/d", True),
        ("a**b", "ab", True),
        ("a**b", "axb", False),
        ("a**b", "ax/y/b", True),
        ("**.pyc", "a/b.pyc", True),
        ("**.pyc", ".pyc", True),
        ("**.pyc", "a.pyc/b", False),
        ("**b/c", "a/bb/c", True),
        ("**x^y", "wx^y", True),
        ("x^**", "x^y/z", True),
        ("**/x*", "a\nb/x1", False),
        ("**/x", "a\nb/x", True),
        ("a\\d*", "a1", True),
        ("a\\d*", "ad", False),
        ("//x", "/x", True),
        ("///x", "/x", True),
        ("naïve*", "naïveté", True),
    ],
)
def test_one_pattern_matches_a_path(pattern: str, path: str, matched: bool) -> None:  # noqa: FBT001
    assert Matcher([pattern]).matches_exactly(path) is matched


@pytest.mark.parametrize(
    "pattern", ["[", "a[", "[]", "[]a]", "[^]", "[a-]", "[-a]", "a\\", "[\\", "!", "[b-a]", "\\y"]
)
def test_a_broken_pattern_is_named(pattern: str) -> None:
    with pytest.raises(PatternError, match="pattern"):
        Matcher([pattern])


# The cases of moby/patternmatcher 0.6.1, TestMatches and TestMatch in patternmatcher_test.go: for a
# pattern the paths that match, that match by a directory above them, and that do not.
MOBY: dict[str, tuple[str, str, str]] = {
    "**": ("file file/ / dir/file dir/file/", "", ""),
    "**/": ("file file/ / dir/file dir/file/", "", ""),
    "**/**": ("dir/file dir/file/", "", ""),
    "dir/**": ("dir/file dir/file/ dir/dir2/file dir/dir2/file/", "", ""),
    "**/dir": ("dir", "dir/file", ""),
    "**/dir2/*": ("dir/dir2/file", "dir/dir2/file/", ""),
    "**/dir2/**": ("dir/dir2/dir3/file dir/dir2/dir3/file/", "", ""),
    "**file": ("file dir/file dir/dir/file", "", ""),
    "**/file": ("dir/file dir/dir/file", "", ""),
    "**/file*": ("dir/dir/file dir/dir/file.txt", "", ""),
    "**/file*txt": ("dir/dir/file.txt", "", ""),
    "**/file*.txt*": ("dir/dir/file.txt", "", ""),
    "**/**/*.txt": ("dir/dir/file.txt file.txt", "", ""),
    "**/**/*.txt2": ("", "", "dir/dir/file.txt"),
    "**/*.txt": ("file.txt", "", ""),
    "a**/*.txt": ("a/file.txt a/dir/file.txt a/dir/dir/file.txt", "", ""),
    "a/*.txt": ("a/file.txt", "", "a/dir/file.txt"),
    "a/*.txt**": ("a/file.txt", "", ""),
    "a[b-d]e": ("ace", "", "ae aae"),
    "a[^b-d]e": ("aze", "", ""),
    ".*": (".foo", "", "foo"),
    "abc.def": ("abc.def", "", "abcdef abcZdef"),
    "abc?def": ("abcZdef", "", "abcdef"),
    "**/foo/bar": ("foo/bar dir/foo/bar dir/dir2/foo/bar", "", ""),
    "abc/**": ("abc/def abc/def/ghi", "", "abc"),
    "**/.foo": (".foo", "", "bar.foo"),
    "a(b)c/def": ("a(b)c/def", "", "a(b)c/xyz"),
    "a.|)$(}+{bc": ("a.|)$(}+{bc", "", ""),
    "dist/*.whl": ("dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", "", ""),
    "a\\\\": ("a\\", "", ""),
    "a\\*b": ("a*b", "", "ab"),
    "a*": ("a abc", "ab/c", ""),
    "a*b*c*d*e*/f": ("axbxcxdxe/f axbxcxdxexxx/f", "", "axbxcxdxe/xxx/f axbxcxdxexxx/fff"),
    "a*b?c*x": ("abxbbxdbxebxczzx", "", "abxbbxdbxebxczzy"),
    "a?b": ("a☺b", "", "a/b"),
    "a[^a][^a][^a]b": ("", "", "a☺b"),
    "[a-ζ]*": ("\N{GREEK SMALL LETTER ALPHA}", "", ""),
    "*[a-ζ]": ("", "", "A"),
    "[\\]a]": ("]", "", ""),
    "[x\\-]": ("x -", "", "z"),
    "[\\-x]": ("x -", "", "a"),
}


@pytest.mark.parametrize("pattern", MOBY)
def test_the_cases_of_moby(pattern: str) -> None:
    exactly, by_parent, never = (paths.split() for paths in MOBY[pattern])
    matcher = Matcher([pattern])
    for path in (*exactly, *by_parent, *never):
        assert matcher.matches_exactly(path) is (path in exactly), path
        assert matcher.matches(path) is (path not in never), path


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        (["**", "!util/docker/web"], False),
        (["**", "!util/docker/web", "util/docker/web/foo"], True),
        (["**", "!util/**foo"], False),
        (["**oo", "!**.md"], True),
    ],
)
def test_exceptions_as_moby_reads_them(patterns: list[str], matched: bool) -> None:  # noqa: FBT001
    assert Matcher(patterns).matches("util/docker/web/foo") is matched


def test_a_directory_covers_what_is_below_it_but_not_exactly() -> None:
    matcher = Matcher(["d"])
    assert matcher.matches("d/e/f")
    assert not matcher.matches_exactly("d/e/f")
    assert not matcher.matches("de")


def test_a_walk_and_a_single_question_agree() -> None:
    patterns = ["**/*.log", "!d/**", "d/e/*.log", "!d/e/keep.log", "x"]
    walked = Matcher(patterns)
    for path in ("d", "d/a.log", "d/e", "d/e/a.log", "d/e/keep.log", "x", "x/y", "z.log"):
        assert walked.matches(path, is_dir="." not in path) == Matcher(patterns).matches(path)


def test_directories_are_not_entered_where_nothing_can_be_kept() -> None:
    assert Filter(exclude=["**/node_modules"])("a/node_modules", is_dir=True) is Decision.DROP
    assert Filter(exclude=["d", "!d/x/y"])("d", is_dir=True) is Decision.PASS
    assert Filter(exclude=["d", "!d/x/y"])("d/w", is_dir=True) is Decision.DROP
    assert Filter(exclude=["d", "!**/y"])("d/w", is_dir=True) is Decision.PASS
    assert Filter(include=["src/app/*"])("src", is_dir=True) is Decision.PASS
    assert Filter(include=["src/app/*"])("docs", is_dir=True) is Decision.DROP
    assert Filter(include=["**/x"])("docs", is_dir=True) is Decision.PASS


@pytest.mark.parametrize("pattern", ["/a", "../a", "a/../../b", "!/a", "!../a", ".."])
def test_patterns_that_lead_out_are_recognised(pattern: str) -> None:
    assert not is_local(pattern)


@pytest.mark.parametrize("pattern", ["a", "./a", "a/../b", "..a", "!a", "**"])
def test_patterns_that_stay_inside_are_recognised(pattern: str) -> None:
    assert is_local(pattern)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("a\n\n  b  \nc", ["a", "b", "c"]),
        ("#a\n #a", ["#a"]),
        ("\ufeff#a\r\nb\r\n", ["b"]),
        ("/a/\n./b/../c\n//d", ["a", "c", "d"]),
        ("! a\n!/b", ["!a", "!b"]),
        ("a\x0cb\n\x85c", ["a\x0cb", "c"]),
        ("/\n.", ["/", "."]),
    ],
)
def test_an_ignore_file_is_read_line_by_line(text: str, patterns: list[str]) -> None:
    assert parse_ignore(text) == patterns


@pytest.mark.parametrize("line", ["!", "! ", "!/", "! /./."])
def test_an_exception_of_nothing_is_refused_as_docker_does(line: str) -> None:
    with pytest.raises(PatternError, match="illegal exclusion"):
        Matcher(parse_ignore(line))
