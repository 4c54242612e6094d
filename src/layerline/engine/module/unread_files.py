"""What of a project need not be read for the shipped pipeline: ignored data, environments, runs.

The pipeline leaves out what git ignores unless `layerline.toml` names it. On this machine git is
asked before anything is read, so gigabytes that no image can have are not copied into the store.
Small files are read all the same; where git does not answer, everything is.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from layerline.engine.module.source import DEFINITION
from layerline.engine.trees import git_program
from layerline.errors import LayerlineError
from layerline.patterns import escape, literal_beginning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGE = 1 << 20  # bytes of a file that is worth a pattern
_ALWAYS = ("locks",)
_LIST = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")


def unread_patterns(project: Path) -> list[str]:
    """Patterns of ignored directories and large files that layerline.toml starts nothing with."""
    ignored = _ignored(project)
    if not ignored:
        return []
    named = [*_ALWAYS, *filter(None, map(literal_beginning, _texts(_definition(project))))]
    return [
        escape(path)
        for path in ignored
        if not any(_overlap(path, beginning) for beginning in named)
    ]


def _ignored(project: Path) -> list[str]:
    try:
        done = git_program.run(_LIST, cwd=project, env={"GIT_CEILING_DIRECTORIES": ""}, expect=None)
    except LayerlineError:  # git is not installed
        return []
    found = done.stdout.decode(errors="surrogateescape").split("\0") if done.status == 0 else []
    return [path.rstrip("/") for path in found if path and _is_large(project / path)]


def _is_large(path: Path) -> bool:
    try:
        return path.is_dir() or path.lstat().st_size > _LARGE
    except OSError:
        return False


def _definition(project: Path) -> object:
    try:
        return tomllib.loads((project / DEFINITION).read_text())
    except (OSError, ValueError):  # the pipeline says what is wrong with it
        return {}


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case _:
            return


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
