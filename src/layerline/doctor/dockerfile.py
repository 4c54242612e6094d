"""Dockerfiles read closely enough to find smells: instructions with flags, never evaluated.

Invariant: text that cannot be understood gives fewer instructions, never an error; the builder is
the one that refuses it.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = ("Dockerfile", "Containerfile")
_FOLDERS = ("", "docker", "dockerfiles", "deploy", ".devcontainer")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_FLAG = re.compile(r"--([\w-]+)(?:=(\S+))?\s*")


@dataclass(frozen=True)
class Instruction:
    """One instruction; `line` counts from 1, `text` is without flags and line breaks."""

    keyword: str
    line: int
    flags: tuple[tuple[str, str], ...]
    text: str

    def flag(self, name: str) -> list[str]:
        """The values of a flag that may be repeated."""
        return [value for key, value in self.flags if key == name]

    @property
    def words(self) -> list[str]:
        """The arguments of COPY and ADD, in either form."""
        if self.text.startswith("["):
            try:
                return [str(word) for word in json.loads(self.text)]
            except ValueError:
                return []
        try:
            return shlex.split(self.text)
        except ValueError:
            return self.text.split()

    @property
    def sources(self) -> list[str]:
        """What COPY or ADD takes from the build context."""
        if self.keyword not in ("COPY", "ADD") or self.flag("from"):
            return []
        words = [word for word in self.words[:-1] if not word.startswith("<<")]
        return [word for word in words if "$" not in word and "://" not in word]

    @property
    def mounts(self) -> list[dict[str, str]]:
        """The --mount flags of RUN, as their parts."""
        parts = [value.split(",") for value in self.flag("mount")]
        return [dict(part.partition("=")[::2] for part in each) for each in parts]


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile of the project; `path` is relative to it."""

    path: str
    instructions: tuple[Instruction, ...]

    @property
    def sources(self) -> list[tuple[Instruction, str]]:
        """What it copies from the build context, cleaned."""
        return [
            (each, source.strip("/").removeprefix("./") or ".")
            for each in self.instructions
            for source in each.sources
        ]


def find_dockerfiles(project: Path, named: str | None = None) -> tuple[Dockerfile, ...]:
    """The Dockerfiles in the usual places; a named one alone."""
    if named is not None:
        return (Dockerfile(named, parse((project / named).read_text(errors="replace"))),)
    found: dict[str, None] = {}
    for folder in _FOLDERS:
        names = sorted(path.name for path in (project / folder).glob("*") if path.is_file())
        for name in filter(_is_dockerfile, names):
            found[f"{folder}/{name}" if folder else name] = None
    ordered = sorted(found, key=lambda path: (path not in _NAMES, path.count("/")))
    texts = ((path, (project / path).read_text(errors="replace")) for path in ordered)
    return tuple(Dockerfile(path, parse(text)) for path, text in texts)


def _is_dockerfile(name: str) -> bool:
    if name.endswith(".dockerignore"):
        return False
    return name.startswith(_NAMES) or name.endswith((".Dockerfile", ".dockerfile"))


def parse(text: str) -> tuple[Instruction, ...]:
    """The instructions of a Dockerfile."""
    return tuple(filter(None, (_instruction(line, text) for line, text in _logical(text))))


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined; a heredoc stays with the line that opens it."""
    directive = re.match(r"(?:#[^\n]*\n)*?#\s*escape\s*=\s*(\S)", text)
    escape = directive[1] if directive else "\\"
    lines = list(enumerate(text.splitlines(), 1))
    while lines:
        number, line = lines.pop(0)
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line.rstrip()
        while whole.endswith(escape) and lines:
            following = lines.pop(0)[1]
            if following.lstrip().startswith("#"):
                continue
            whole = f"{whole[:-1].rstrip()} {following.strip()}"
        keyword = whole.split(None, 1)[0].upper()
        for _, end in _HEREDOC.findall(whole) if keyword in ("RUN", "COPY", "ADD") else ():
            while lines:
                following = lines.pop(0)[1]
                if following.strip() == end:
                    break
                whole += f" ; {following.strip()}" if keyword == "RUN" else ""
        yield number, whole.strip()


def _instruction(line: int, text: str) -> Instruction | None:
    keyword, _, rest = text.partition(" ")
    flags = []
    rest = rest.strip()
    found = _FLAG.match(rest)
    while found:
        flags.append((found[1], found[2] or ""))
        rest = rest[found.end() :]
        found = _FLAG.match(rest)
    return Instruction(keyword.upper(), line, tuple(flags), rest) if keyword.isalpha() else None
