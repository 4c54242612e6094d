"""The last layer of an image: wheels of the repository's own projects.

Invariant: what a project requires is in the layers below, at a version that it accepts.
"""

import posixpath
from dataclasses import dataclass, field
from email.parser import HeaderParser

import anyio
import dagger

from layerline.pipeline import changes, step_inputs
from layerline.pipeline.definition import Image
from layerline.pipeline.environment import BUILT, Environment
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.partition import Partition
from layerline.pipeline.platform import Platform
from layerline.pipeline.projects import Projects, unmet
from layerline.pipeline.requirement import normalize_name
from layerline.pipeline.spans import span


class ProjectError(PipelineError):
    """A project of the repository does not fit the image that it is to be installed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A project's wheel; `version` is that of its metadata, `files` has the wheel."""

    name: str
    version: str
    metadata: str
    files: dagger.Directory


@dataclass(slots=True, kw_only=True, eq=False)
class ProjectLayer:
    """Builds the wheels of projects, each once, and installs those of an image."""

    environment: Environment
    projects: Projects
    parts: Partition
    platform: Platform
    app: str
    _built: dict[tuple[str, bool], Wheel] = field(default_factory=dict, init=False)
    _lock: anyio.Lock = field(default_factory=anyio.Lock, init=False)

    async def wheels(self, name: str, spec: Image) -> list[Wheel]:
        """The wheels of an image; a `ProjectError` says what they require in vain."""
        async with self._lock:
            found = [await self._wheel(path, editable=spec.editable) for path in spec.projects]
        pins = {pin.name: pin.version for layer in self.parts.of(spec.groups) for pin in layer.pins}
        versions = {**pins, **{each.name: each.version for each in found}}
        wrong = [
            f"  {path} ({each.name} {each.version}) requires {text}"
            for path, each in zip(spec.projects, found, strict=True)
            for text in unmet(each.metadata, versions, self.platform)
        ]
        if wrong:
            heading = (
                f"image {name} lacks what its projects require: add it to the requirements of one "
                "of its groups, or to projects, and lock again"
            )
            raise ProjectError("\n".join([heading, *wrong]))
        return found

    async def files(self, name: str, spec: Image) -> dagger.Directory:
        """What the installation of an image's projects adds."""
        wheels = await self.wheels(name, spec)
        return await self.environment.of_layers.wheel_files([each.files for each in wheels])

    def source(self, path: str) -> dagger.Directory:
        """The files that a project is built from."""
        return self.projects.source(path)

    async def _wheel(self, path: str, *, editable: bool) -> Wheel:
        if (path, editable) not in self._built:
            place = posixpath.normpath(posixpath.join(self.app, path)) if editable else ""
            source, builders = self.projects.source(path), self.parts.project_builders[path]
            environment = self.environment.of_layers
            depends = step_inputs.of_project(
                await environment.inputs(),
                environment.build_inputs(),
                builders,
                await changes.manifest(source, most=step_inputs.MOST_FILES),
            )
            with span(f"build the wheel of {path}", depends, target=environment.target):
                done = await environment.wheel(source, builders, place=place)
                files = done.directory(BUILT)
                again = environment.supplies.again
                metadata = await again(files.file("METADATA").contents)
            fields = HeaderParser().parsestr(metadata)
            self._built[path, editable] = Wheel(
                name=normalize_name(fields["Name"]),
                version=fields["Version"],
                metadata=metadata,
                files=files,
            )
        return self._built[path, editable]
