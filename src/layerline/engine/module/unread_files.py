"""What of a project need not be read for the shipped pipeline: ignored data, exported images.

The pipeline leaves out what git ignores unless `layerline.toml` names it. On this machine git is
asked before anything is read, so gigabytes that no image can have are not copied into the store.
The same holds for images that were exported into the project, unless an image takes whatever is
there. Small files are read all the same; where git does not answer, everything is.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from layerline.engine.module.source import DEFINITION
from layerline.engine.trees import git_program
from layerline.errors import LayerlineError
from layerline.patterns import escape, literal_beginning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_LARGE = 1 << 20  # bytes of a file that is worth a pattern
_ALWAYS = ("locks",)
_UNTRACKED = ("ls-files", "--others", "--exclude-standard", "--directory", "-z")
# The files that an image layout or archive may begin with (OCI image layout, docker save).
_IMAGE_FILES = ("oci-layout", "index.json", "manifest.json", "repositories", "blobs/")
_NAME_BYTES = 100  # of a member, at the beginning of its header (POSIX ustar)


def unread_patterns(project: Path) -> list[str]:
    """Patterns of directories and large files that layerline.toml starts nothing with.

    These are ignored by git, or untracked images: archives and layouts.
    """
    definition = _definition(project)
    found = _untracked(project, "--ignored")
    if not _takes_all(definition):
        found += [path for path in _untracked(project) if _is_image(project / path)]
    named = [*_ALWAYS, *filter(None, map(literal_beginning, _texts(definition)))]
    return [
        escape(path) for path in found if not any(_overlap(path, beginning) for beginning in named)
    ]


def _takes_all(definition: object) -> bool:
    """Whether a `source` pattern starts with a wildcard: it can match anything."""
    images = definition.get("images") if isinstance(definition, dict) else None
    found = [each.get("source") for each in _values(images) if isinstance(each, dict)]
    return any(
        not pattern.startswith("!") and not literal_beginning(pattern) for pattern in _texts(found)
    )


def _is_image(path: Path) -> bool:
    """Whether it is an image's layout, or an archive that begins as one of an image does."""
    if path.is_dir():
        return (path / "oci-layout").is_file() and (path / "blobs").is_dir()
    try:
        with path.open("rb") as file:
            name = file.read(_NAME_BYTES).rstrip(b"\0")
    except OSError:
        return False
    return name.decode(errors="replace").startswith(_IMAGE_FILES)


def _untracked(project: Path, *flags: str) -> list[str]:
    listed = (*_UNTRACKED, *flags)
    try:
        done = git_program.run(
            listed, cwd=project, env={"GIT_CEILING_DIRECTORIES": ""}, expect=None
        )
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
    if isinstance(value, str):
        yield value
    for each in _values(value):
        yield from _texts(each)


def _values(value: object) -> Iterable[object]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
