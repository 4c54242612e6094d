"""Differences in few words, and directories that are looked at no deeper than pays."""

from __future__ import annotations

from layerline.pipeline import changes


def test_few_files_are_looked_at_one_by_one() -> None:
    paths = ["src/", "src/a.py", "src/deep/", "src/deep/b.py", "empty/", "c.py"]
    assert changes.frontier(paths) == ["c.py", "empty/", "src/a.py", "src/deep/b.py"]


def test_too_many_files_are_looked_at_as_directories_and_none_is_lost() -> None:
    many = [f"data/{number}.png" for number in range(1000)]
    paths = ["data/", *many, "src/", "src/a.py", "src/deep/", "src/deep/b.py"]
    assert changes.frontier(paths) == ["data/", "src/a.py", "src/deep/b.py"]
    flat = [f"{number}.png" for number in range(1000)]
    assert changes.frontier(flat) == ["./"]


def test_no_more_files_are_named_than_can_be_read() -> None:
    before = {"source": {f"{number}.py": "old" for number in range(20)}}
    now = {"source": {f"{number}.py": "new" for number in range(20)}}
    [text] = changes.of_files(before, now).values()
    assert text.count(" changed") == changes.MOST_NAMED
    assert text.endswith(", and 12 more")
    assert changes.of_files(now, now) == {}


def test_values_are_shown_unless_they_say_nothing() -> None:
    before = {"--index-url": "", "--ca-bundle": "", "base": "one@sha256:" + "a" * 64}
    now = {"--index-url": "here", "--ca-bundle": "sha256:aa", "base": "two@sha256:" + "b" * 64}
    assert list(changes.of_values(before, now)) == [
        "--ca-bundle is new",
        "--index-url: none -> here",
        "base: one@sha256:aaaaaaaaaaaa -> two@sha256:bbbbbbbbbbbb",
    ]
    assert list(changes.of_values(now, now)) == []
