"""Dockerfiles read closely enough to find smells: instructions with flags, never evaluated.

Invariant: text that cannot be understood gives fewer instructions, never an error; the builder is
the one that refuses it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.dockerfile_lexer import json_list, read_source, split_quoted

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.dockerfile_lexer import Line

_NAMES = ("Dockerfile", "Containerfile")
_FOLDERS = ("", "docker", "dockerfiles", "deploy", ".devcontainer")


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
    def operands(self) -> list[str]:
        """The sources and the destination of COPY and ADD, in either form."""
        if self.text.startswith("["):
            return [str(item) for item in json_list(self.text) or ()]
        try:
            return shlex.split(self.text)
        except ValueError:
            return self.text.split()

    @property
    def sources(self) -> list[str]:
        """The sources of COPY or ADD in the build context."""
        if self.keyword not in ("COPY", "ADD") or self.flag("from"):
            return []
        sources = [each for each in self.operands[:-1] if not each.startswith("<<")]
        return [each for each in sources if "$" not in each and "://" not in each]

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
        """Each copied path of the build context, normalised, with its instruction."""
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
    """The instructions of a Dockerfile; what is not one is left out."""
    source = read_source(text)
    lines = (line for line in source.lines if line.keyword.isalpha())
    return tuple(_instruction(line, source.escape) for line in lines)


def _instruction(line: Line, escape: str) -> Instruction:
    text = " ".join(split_quoted(line.rest, escape))
    if line.keyword == "RUN":
        script = (part.strip() for doc in line.heredocs for part in doc.raw.splitlines())
        text = " ; ".join((text, *script))
    flags = (flag[2:].partition("=") for flag in line.flags)
    return Instruction(line.keyword, line.number, tuple((f[0], f[2]) for f in flags), text)
