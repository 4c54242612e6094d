"""The Python projects of a repository: built as wheels, with what their builds require (PEP 517).

A project is a directory with a `pyproject.toml` or a `setup.py`. Its wheel is built from the files
that git tracks, without those of the other projects in it, so a change rebuilds one wheel.
"""

import difflib
import posixpath
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser

import dagger
from packaging.requirements import Requirement

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition
from layerline.pipeline.diagnostics import FILE, DefinitionError, Diagnostic
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import recorded_projects
from layerline.pipeline.platform import Platform
from layerline.pipeline.requirement import normalize_name
from layerline.pipeline.source import Selection

PYPROJECT, SETUP = "pyproject.toml", "setup.py"
# What builds a source without `build-system`, as pip and uv have it.
SETUPTOOLS = "setuptools>=40.8.0"
# What decides how images are built is not part of what is built.
_NOT_BUILT = (FILE, "locks/**", "dockerfiles/**")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectBuild:
    """The files of a project and what its build requires; `editable` where an image wants that."""

    requires: tuple[str, ...]
    files: dagger.Directory
    editable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Projects:
    """The projects that the images of one target build, by directory."""

    definition: Definition
    target: str
    selection: Selection

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories of all projects, as they are written."""
        images = self.definition.images_of(self.target).values()
        return tuple(sorted({path for image in images for path in image.projects}))

    def source(self, directory: str) -> dagger.Directory:
        """The files that a project is built from."""
        own = posixpath.normpath(directory)
        others = [
            posixpath.relpath(each, own)
            for each in map(posixpath.normpath, self.directories)
            if each != own and (own == "." or each.startswith(f"{own}/"))
        ]
        visible = self.selection.visible
        found = visible if own == "." else visible.directory(own)
        return found.filter(exclude=[*others, *(_NOT_BUILT if own == "." else ())])

    async def builds(self) -> dict[str, ProjectBuild]:
        """What is built, by directory; a `DefinitionError` if one has no project."""
        images = self.definition.images_of(self.target).values()
        editable = {path for image in images if image.editable for path in image.projects}
        return {
            path: ProjectBuild(requires=by, files=self.source(path), editable=path in editable)
            for path, by in (await self.requirements()).items()
        }

    async def requirements(self) -> dict[str, tuple[str, ...]]:
        """What the build of each project requires; a `DefinitionError` if one has no project."""
        found: dict[str, tuple[str, ...]] = {}
        wrong: list[Diagnostic] = []
        for directory in self.directories:
            try:
                found[directory] = await self._build_requirements(directory)
            except ValueError as exc:
                places = [
                    ("images", name, "projects", directory)
                    for name, image in self.definition.images_of(self.target).items()
                    if directory in image.projects
                ]
                wrong.append(Diagnostic(f"projects has {directory!r}, which {exc}", places[0]))
        if wrong:
            raise DefinitionError(wrong, await self.selection.loaded.file(FILE).contents())
        return found

    async def _build_requirements(self, directory: str) -> tuple[str, ...]:
        path = posixpath.normpath(posixpath.join(directory, PYPROJECT))
        if path in self.selection.visible_names:
            return build_requirements(await self.selection.visible.file(path).contents())
        if posixpath.normpath(posixpath.join(directory, SETUP)) in self.selection.visible_names:
            return (SETUPTOOLS,)
        known = sorted(
            posixpath.dirname(each) or "."
            for each in self.selection.visible_names
            if posixpath.basename(each) in (PYPROJECT, SETUP)
        )
        near = difflib.get_close_matches(posixpath.normpath(directory), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "name the directory of a project"
        message = f"has no {PYPROJECT} or {SETUP} that git tracks: {hint}"
        raise ValueError(message)


def build_requirements(text: str) -> tuple[str, ...]:
    """What the build of a project requires, by its pyproject.toml."""
    try:
        system = tomllib.loads(text).get("build-system", {})
    except tomllib.TOMLDecodeError as exc:
        message = f"has a {PYPROJECT} that is not TOML: {exc}"
        raise ValueError(message) from exc
    return tuple(str(each) for each in system.get("requires", [SETUPTOOLS]))


def check_recorded(text: str, now: Mapping[str, Sequence[str]], target: str) -> None:
    """Raise a `LockError` if the builds of projects require something else than when locked."""
    recorded = recorded_projects(text)
    wrong = [
        f"  the build of {path} requires {', '.join(by) or 'nothing'}; "
        f"the lock was resolved for {', '.join(recorded[path]) or 'nothing'}"
        for path, by in sorted(now.items())
        if path in recorded and sorted(recorded[path]) != sorted(by)
    ]
    if wrong:
        heading = f"{lock.path(target)} is out of date: regenerate it with '{lock.command(target)}'"
        raise LockError("\n".join([heading, *wrong]))


def unmet(metadata: str, versions: Mapping[str, str], platform: Platform) -> Iterator[str]:
    """Yield what a wheel requires, by its metadata, and an image does not have."""
    for text in HeaderParser().parsestr(metadata).get_all("Requires-Dist") or ():
        if not platform.wants(text):
            continue
        required = Requirement(text)
        found = versions.get(normalize_name(required.name))
        if found is None:
            yield f"{text}, which is in no layer"
        elif not required.specifier.contains(found, prereleases=True):
            yield f"{text}; its layers have {found}"
