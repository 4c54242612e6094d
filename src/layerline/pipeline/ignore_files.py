"""Ignore files as lists of moby's patterns: `.dockerignore` as it is, `.gitignore` translated."""

import posixpath
from collections.abc import Mapping


def parse_dockerignore(text: str) -> list[str]:
    """The patterns of a .dockerignore, as moby/patternmatcher's `ignorefile` reads them."""
    found = []
    for line in text.removeprefix("\ufeff").split("\n"):
        stripped = "" if line.startswith("#") else line.strip()
        pattern = stripped.removeprefix("!").strip()
        if pattern:
            cleaned = posixpath.normpath(pattern).lstrip("/") or "/"
            found.append("!" * stripped.startswith("!") + cleaned)
    return found


def from_gitignore(texts: Mapping[str, str]) -> list[str]:
    """The patterns of .gitignore files by their paths, nearer ones later, as gitignore(5) has them.

    One rule of git has no counterpart: it never looks into an ignored directory again.
    """
    paths = sorted(texts, key=lambda path: (path.count("/"), path))
    lines = [
        _from_git(line.rstrip(), posixpath.dirname(path))
        for path in paths
        for line in texts[path].splitlines()
    ]
    return [pattern for pattern in lines if pattern]


def _from_git(line: str, directory: str) -> str:
    negated = line.startswith("!")
    body = line[negated:].rstrip("/")
    if not body or line.startswith("#"):
        return ""
    anywhere = "/" not in body
    place = posixpath.join(directory, "**" if anywhere else "", body.lstrip("/"))
    return "!" * negated + place.replace("[!", "[^")
