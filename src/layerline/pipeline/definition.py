"""The contents of `layerline.toml`: targets, groups and images, as frozen models.

Invariant: a definition is complete; every name in it refers to something that exists.
"""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import Field, model_validator
from pydantic import ValidationError as PydanticError

from layerline.pipeline.audit_policy import Audit
from layerline.pipeline.bases import PACKAGES, base_with
from layerline.pipeline.diagnostics import (
    EVERY_TARGET,
    DefinitionError,
    Diagnostic,
    diagnostics,
)
from layerline.pipeline.platform import Platform
from layerline.pipeline.requirement import project
from layerline.pipeline.target import Target
from layerline.pipeline.values import ByTarget, Name, Path, Port, Table, User

# The layer of packages that all images need is called so.
SHARED = "shared"
_SIMILAR = 0.7
T = TypeVar("T")


class Base(Table):
    """The base of every image: a Debian or Ubuntu image with Python among its packages."""

    python: str = Field(
        description=(
            "Version of Python; it chooses the base that has it, and a base that is given is "
            "checked for it"
        ),
        default="",
        pattern=r"^(3\.\d+)?$",
        examples=["3.12"],
    )
    image: str = Field(
        description="Debian or Ubuntu image that every image starts from",
        default="debian:bookworm-slim",
        examples=["debian:bookworm-slim"],
    )
    packages: tuple[str, ...] = Field(
        description="Packages of the distribution; Python with its `venv` must be among them",
        default=PACKAGES,
        examples=[["ca-certificates", "python3", "python3-venv", "tini"]],
    )
    build_packages: tuple[str, ...] = Field(
        description="Packages of the distribution that building wheels needs; no image has them",
        default=(),
        examples=[["build-essential", "python3-dev"]],
    )

    snapshot: tuple[str, ...] = Field(
        description=(
            "Where the distribution's packages come from, instead of the base's own sources: URLs "
            "of a snapshot, or lines of sources.list(5)"
        ),
        default=(),
        examples=[["http://snapshot.debian.org/archive/debian/20250520T000000Z"]],
    )

    @model_validator(mode="before")
    @classmethod
    def _with_python(cls, table: Any) -> Any:  # noqa: ANN401 - what the file has
        """Choose the image by the version of Python, if only that is given."""
        python = table.get("python") if isinstance(table, dict) else None
        return {**base_with(str(python)), **table} if python else table


class Group(Table):
    """Requirements that change together.

    `claims` are patterns of packages that go into this group's layer, whichever group requires
    them. `without` are dependencies to leave out. `probes` are built-in names or paths of programs
    in the source. `missing` are patterns of shared libraries that its files link against and that
    may be absent. `from_source` are packages without a wheel, each with its build requirements.
    """

    requirements: ByTarget = Field(
        description=(
            "Requirements (PEP 508): a list for every target, or a table with a list for each"
            " target"
        ),
        default_factory=dict,
        examples=[["numpy>=2"]],
    )
    claims: tuple[str, ...] = Field(
        description=(
            "Patterns of packages that go into the layer of this group, whichever group "
            "requires them; the longest match wins"
        ),
        default=(),
        examples=[["nvidia-cudnn-*"]],
    )
    without: tuple[str, ...] = Field(
        description="Dependencies to leave out of the resolution",
        default=(),
        examples=[["opencv-python"]],
    )
    packages: tuple[str, ...] = Field(
        description="Packages of the distribution that the files of the group need",
        default=(),
        examples=[["libgl1"]],
    )
    probes: tuple[str, ...] = Field(
        description=(
            "Probes to run on the layer: built-in names, or paths of programs in the source"
        ),
        default=(),
        examples=[["pytorch", "tests/probe.py"]],
    )
    missing: tuple[str, ...] = Field(
        description=(
            "Patterns of shared libraries that the files of the group link against and that "
            "may be missing"
        ),
        default=(),
        examples=[["libmlx5.so.*"]],
    )
    from_source: dict[Name, tuple[Name, ...]] = Field(
        description=(
            "Packages to build from their source, each with its build requirements; `lock` finds "
            "those without a wheel itself"
        ),
        default_factory=dict,
        examples=[{"antlr4-python3-runtime": ["setuptools"]}],
    )

    def requirements_for(self, target: str) -> tuple[str, ...]:
        everywhere = self.requirements.get(EVERY_TARGET, ())
        return self.requirements.get(target, everywhere)


class Image(Table):
    """An image: the groups of one target, the source, and how it starts."""

    target: str = Field(description="Target that the image is built for", examples=["cpu"])
    groups: tuple[str, ...] = Field(
        description="Groups whose layers the image has", min_length=1, examples=[["core"]]
    )
    source: tuple[str, ...] = Field(
        description="Patterns of the files that are copied to `/app`",
        default=("**",),
        examples=[["src/**", "pyproject.toml"]],
    )
    projects: tuple[Path, ...] = Field(
        description=(
            "Directories of Python projects (PEP 517) to build as wheels and to install as the "
            "last layer; a group has what they require"
        ),
        default=(),
        examples=[[".", "packages/shared"]],
    )
    editable: bool = Field(
        description="Install the projects from their source in `/app` instead of wheels (PEP 660)",
        default=False,
        examples=[True],
    )
    directories: tuple[Path, ...] = Field(
        description=(
            "Directories below `/app` to create for the run user; their content is mounted at"
            " run time"
        ),
        default=(),
        examples=[["data", "outputs/logs"]],
    )
    env: dict[str, str] = Field(
        description="Environment variables",
        default_factory=dict,
        examples=[{"PYTHONPATH": "/app/src"}],
    )
    entrypoint: tuple[str, ...] = Field(
        description="Entrypoint of the image", default=("tini", "--"), examples=[["tini", "--"]]
    )
    command: tuple[str, ...] = Field(
        description="Default arguments of the entrypoint",
        default=("python",),
        examples=[["python", "-m", "train"]],
    )
    ports: tuple[Port, ...] = Field(
        description="Ports that the image exposes", default=(), examples=[[8000]]
    )
    user: User = Field(
        description="Name of the run user, created with the ids 1000:1000 unless the base has it",
        default="app",
        examples=["app"],
    )
    healthcheck: tuple[str, ...] = Field(
        description="Command that exits with 0 when the service is healthy",
        default=(),
        examples=[["python", "-m", "healthcheck"]],
    )
    commands: tuple[str, ...] = Field(
        description="Programs that must be on the PATH of the image",
        default=(),
        examples=[["tini", "python"]],
    )
    bytecode: bool = Field(
        description=(
            "Have the compiled bytecode of the packages, for a faster start: the same bytes "
            "everywhere, checked against the source's hash (PEP 552)"
        ),
        default=True,
        examples=[False],
    )
    budget_mb: int | None = Field(
        description="Megabytes (10^6 bytes) that the files of the image may take",
        default=None,
        gt=0,
        examples=[9000],
    )
    cold_start_ms: int | None = Field(
        description=(
            "Milliseconds from the start of the command until the health check passes, which the "
            "image test measures (median of five starts)"
        ),
        default=None,
        gt=0,
        examples=[3000],
    )
    memory_mb: int | None = Field(
        description=(
            "Megabytes (10^6 bytes) of memory that the image's processes may have once the health "
            "check passes, measured with `cold_start_ms`"
        ),
        default=None,
        gt=0,
        examples=[500],
    )
    max_layer_mb: int | None = Field(
        description=(
            "Megabytes (10^6 bytes) that a layer of packages may take before it is compressed; a"
            " larger one is split by package"
        ),
        default=None,
        gt=0,
        examples=[8000],
    )


# Of images: they limit what a test measures, and change nothing in the image.
MEASURED = ("cold_start_ms", "memory_mb")


class Definition(Table):
    """The root table of `layerline.toml`."""

    base: Base = Field(default_factory=Base)
    targets: dict[Name, Target] = Field(min_length=1, examples=[{"cpu": {}}])
    groups: dict[Name, Group] = Field(
        min_length=1, examples=[{"core": {"requirements": ["numpy>=2"]}}]
    )
    audit: Audit = Field(default_factory=Audit)
    images: dict[Name, Image] = Field(
        min_length=1, examples=[{"train": {"target": "cpu", "groups": ["core"]}}]
    )

    def image(self, name: str) -> Image:
        return look_up(self.images, name, "image")

    def target(self, name: str) -> Target:
        return look_up(self.targets, name, "target")

    def images_of(self, target: str) -> dict[str, Image]:
        self.target(target)
        return {name: image for name, image in self.images.items() if image.target == target}

    def groups_of(self, target: str) -> dict[str, Group]:
        """Groups of the target and its images, and groups that only claim packages."""
        used = {name for image in self.images_of(target).values() for name in image.groups}
        used.update(self.target(target).groups)
        return {
            name: group
            for name, group in sorted(self.groups.items())
            if name in used or (group.claims and not group.requirements_for(target))
        }


def parse_definition(text: str) -> Definition:
    """Parse a `layerline.toml`; the `DefinitionError` lists all mistakes at once."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise DefinitionError(
            [Diagnostic(f"invalid TOML: {exc}: check it and the lines above")], text
        ) from exc
    try:
        definition = Definition.model_validate(document)
    except PydanticError as exc:
        raise DefinitionError(diagnostics(exc, Definition), text) from exc
    if wrong := list(_dangling(definition)):
        raise DefinitionError(wrong, text)
    return definition


def _dangling(definition: Definition) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each reference to an undefined name, and for a reserved one."""
    if SHARED in definition.groups:
        message = f"group {SHARED} has the name of the layer that all images share: rename it"
        yield Diagnostic(message, ("groups", SHARED))
    for name, group in definition.groups.items():
        for target in sorted(group.requirements.keys() - {EVERY_TARGET, *definition.targets}):
            yield Diagnostic(
                f"group {name} has requirements for unknown target {target!r}: "
                f"{_one_of('targets', definition.targets, target)}",
                ("groups", name, "requirements", target),
            )
    for name, each in definition.targets.items():
        yield from _dangling_groups(definition, f"target {name}", each.groups, name)
    for name, image in definition.images.items():
        yield from _unmeasurable(name, image)
        if image.target in definition.targets:
            yield from _dangling_groups(definition, f"image {name}", image.groups, image.target)
            continue
        yield Diagnostic(
            f"image {name} has unknown target {image.target!r}: "
            f"{_one_of('targets', definition.targets, image.target)}",
            ("images", name, "target"),
        )


def _unmeasurable(name: str, image: Image) -> Iterator[Diagnostic]:
    for key in MEASURED if not image.healthcheck else ():
        if getattr(image, key) is not None:
            yield Diagnostic(
                f"{key} of image {name} is measured by its health check, which it does not have: "
                'add healthcheck = ["python", "-m", "healthcheck"], or remove it',
                ("images", name, key),
            )


def _dangling_groups(
    definition: Definition, subject: str, groups: Iterable[str], target: str
) -> Iterator[Diagnostic]:
    kind, _, name = subject.partition(" ")
    for group in groups:
        place = (f"{kind}s", name, "groups", group)
        if group not in definition.groups:
            message = f"{subject} has unknown group {group!r}: "
            yield Diagnostic(message + _one_of("groups", definition.groups, group), place)
        elif not definition.groups[group].requirements_for(target):
            yield Diagnostic(
                f"group {group} of {subject} has no requirements for {target}: add "
                f"requirements = {{ {target} = [...] }} in [groups.{group}]",
                place,
            )


def _one_of(what: str, names: Iterable[str], wrong: str) -> str:
    near = difflib.get_close_matches(wrong, list(names), n=1, cutoff=_SIMILAR)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"{guess}use one of the {what} {', '.join(sorted(names))}"


def look_up(table: Mapping[str, T], name: str, what: str) -> T:
    """The entry of a table; a `DefinitionError` says which names there are."""
    if name not in table:
        message = f"unknown {what} {name!r}: {_one_of(f'{what}s', table, name)}"
        raise DefinitionError([Diagnostic(message)])
    return table[name]


def roots(group: Group, target: str, platform: Platform) -> tuple[str, ...]:
    """The projects that a group requires directly on the platform of the target."""
    wanted = filter(platform.wants, group.requirements_for(target))
    return tuple(project(requirement) for requirement in wanted)


def from_source(groups: Iterable[Group]) -> dict[str, tuple[str, ...]]:
    """The projects that the groups want built from their source, each with its requirements."""
    return {name: by for group in groups for name, by in sorted(group.from_source.items())}
