"""The files of a project that an image gets: its `source` patterns, applied to what git tracks.

What git tracks or would track is visible, less what `.dockerignore` and `.containerignore` leave
out. A pattern takes in what is ignored only if it itself starts with an ignored file or directory.
Nothing that is selected is dropped in silence: a pattern that selects nothing is an error.
"""

import difflib
import fnmatch
import posixpath
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagger

from layerline.pipeline.definition import Definition
from layerline.pipeline.diagnostics import FILE, DefinitionError, Diagnostic
from layerline.pipeline.git_index import tracked_paths
from layerline.pipeline.ignore_files import from_gitignore, parse_dockerignore
from layerline.pipeline.secret_names import is_secret

BYTECODE = ("**/__pycache__", "**/*.pyc", "**/*.pyo")
ENVIRONMENTS = (".venv", ".tox", ".nox")
NEVER_SELECTED = ("**/.git", *BYTECODE, *ENVIRONMENTS)
NOT_LOADED = (*NEVER_SELECTED, "!.git/index")
IGNORE_FILES = (".dockerignore", ".containerignore")
_INDEX = ".git/index"
_WILD = re.compile(r"[*?\[\\]")


def check_patterns(definition: Definition, text: str) -> None:
    """Refuse patterns that are absolute or lead out of the repository, at their lines."""
    wrong = [
        Diagnostic(f"images.{name}.source has {pattern!r}, which {reason}", _place(name, pattern))
        for name, image in sorted(definition.images.items())
        for pattern in image.source
        if (reason := _alien(pattern))
    ]
    if wrong:
        raise DefinitionError(wrong, text)


def _alien(pattern: str) -> str:
    cleaned = posixpath.normpath(_positive(pattern).strip())
    if cleaned.startswith("/"):
        return f"is absolute: use a path relative to the repository, e.g. {cleaned.lstrip('/')!r}"
    if cleaned.split("/", 1)[0] == "..":
        return (
            "leads out of the repository: move the files into it, or build from the directory above"
        )
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the source of one image is chosen from.

    `loaded` has everything, ignored files as well; `visible` what git tracks or would track and
    no ignore file leaves out. `names` are the paths in each, files and the directories above them.
    """

    loaded: dagger.Directory
    visible: dagger.Directory
    names: Collection[str]
    visible_names: Collection[str]
    patterns: Sequence[str] = field(default=("**",))

    @property
    def files(self) -> dagger.Directory:
        """The selected files."""
        chosen = self.visible.filter(include=list(self.patterns))
        named = [each for each in self.patterns if each.startswith("!") or self._is_named(each)]
        if all(each.startswith("!") for each in named):
            return chosen
        return chosen.with_directory(
            "/", self.loaded.filter(include=named, exclude=list(NEVER_SELECTED))
        )

    def _is_named(self, pattern: str) -> bool:
        """Whether the pattern starts with a file or a directory that is ignored."""
        return any(
            path in self.names and path not in self.visible_names for path in beginnings(pattern)
        )

    async def check(self, image: str) -> None:
        """Raise a `DefinitionError` for patterns without a file and for files with secrets."""
        files = self.files
        wrong: list[Diagnostic] = []
        matches: dict[str, set[str]] = {}
        for pattern in self.patterns:
            if not pattern.startswith("!"):
                found = await files.filter(include=[pattern]).glob("**")
                matches[pattern] = {path for path in found if not path.endswith("/")}
                if not matches[pattern]:
                    reason = await self._why_nothing(pattern)
                    said = f"images.{image}.source has {pattern!r}, which matches {reason}"
                    wrong.append(Diagnostic(said, _place(image, pattern)))
        selected = set().union(*matches.values())
        secrets = [path for path in sorted(selected) if is_secret(posixpath.basename(path))]
        wrong += [
            Diagnostic(
                f"{path} looks like a secret, and would be in the image {image}: leave it out with "
                f'"!{path}" in images.{image}.source or in .dockerignore, or name it in source',
                ("images", image, "source"),
            )
            for path in secrets
            if not any(_names(pattern, path) for pattern in matches if path in matches[pattern])
        ]
        if wrong:
            raise DefinitionError(wrong, await self._definition_text())

    async def _why_nothing(self, pattern: str) -> str:
        ignored = await self.loaded.filter(include=[pattern], exclude=list(NEVER_SELECTED)).glob(
            "**"
        )
        for path in sorted(path for path in ignored if not path.endswith("/")):
            return f"only ignored files: start it with one of them to include it, e.g. {path!r}"
        near = difflib.get_close_matches(pattern.split("/")[0], self.names, n=1)
        if near:
            return f"no file: did you mean {near[0]!r}?"
        return "no file: correct it, or start it with the ignored file or directory that it means"

    async def _definition_text(self) -> str:
        return await self.loaded.file(FILE).contents() if FILE in self.names else ""


async def select(loaded: dagger.Directory, patterns: Sequence[str] = ("**",)) -> Selection:
    """Choose from a directory that has everything; its `.git/index` says what git tracks."""
    names = _with_parents(await loaded.glob("**"))
    visible = loaded.filter(gitignore=True)
    tracked = await _tracked(loaded) if _INDEX in names else set()
    if tracked:
        shown = set(await visible.glob("**"))
        kept = sorted(path for path in tracked & names if path not in shown)
        if kept:
            again = loaded.filter(include=[escape(path) for path in kept])
            visible = visible.with_directory("/", again)
    for ignored in [*await _ignore_files(loaded, names), list(NEVER_SELECTED)]:
        visible = visible.filter(exclude=ignored)
    return Selection(
        loaded=loaded,
        visible=visible,
        names=names,
        visible_names=_with_parents(await visible.glob("**")),
        patterns=patterns,
    )


async def docker_patterns(loaded: dagger.Directory) -> list[str]:
    """What is not visible, as patterns of an ignore file for docker; the last match wins."""
    places = await loaded.filter(include=["**/.gitignore"], gitignore=True).glob("**/.gitignore")
    texts = {path: await loaded.file(path).contents() for path in places}
    listed = await _ignore_files(loaded, await loaded.glob(".*ignore"))
    return [*from_gitignore(texts), *(each for them in listed for each in them), *NEVER_SELECTED]


async def _ignore_files(loaded: dagger.Directory, names: Collection[str]) -> list[list[str]]:
    """The patterns of each ignore file that exists."""
    return [
        parse_dockerignore(await loaded.file(name).contents())
        for name in IGNORE_FILES
        if name in names
    ]


async def _tracked(loaded: dagger.Directory) -> set[str]:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "index"
        await loaded.file(_INDEX).export(str(path))
        return tracked_paths(path.read_bytes())


def _with_parents(listing: Sequence[str]) -> set[str]:
    """Files, and the directories above them; directories without a file are left out."""
    found: set[str] = set()
    for path in listing:
        above = "" if path.endswith("/") else path
        while above and above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found


def beginnings(pattern: str) -> Iterator[str]:
    """The paths that a pattern starts with, before its first wildcard."""
    above = ""
    for part in posixpath.normpath(pattern.strip()).split("/"):
        if _WILD.search(part):
            return
        above = posixpath.join(above, part)
        yield above


def _names(pattern: str, path: str) -> bool:
    """Whether a pattern that matches a path also says what kind of file it means."""
    last = posixpath.basename(posixpath.normpath(pattern))
    return bool(last.strip("*?")) and fnmatch.fnmatchcase(posixpath.basename(path), last)


def escape(path: str) -> str:
    """A pattern that matches this path alone."""
    return re.sub(r"([*?\[\]\\!])", r"\\\1", path)


def _positive(pattern: str) -> str:
    return pattern.removeprefix("!")


def _place(image: str, pattern: str) -> tuple[str, ...]:
    return ("images", image, "source", pattern)
