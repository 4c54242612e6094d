"""What `layerline.toml` says: targets, groups and images, as frozen models.

Invariant: a definition that was made is complete; every name in it refers to something there is.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as PydanticError

from layerline.pipeline.diagnostics import (
    EVERY_TARGET,
    FILE,
    Complaint,
    DefinitionError,
    complaints,
)
from layerline.pipeline.requirement import REQUIREMENT, project

T = TypeVar("T")
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Requirement = Annotated[str, StringConstraints(pattern=REQUIREMENT)]
Path = Annotated[str, StringConstraints(pattern=r"^[^/]")]


def _by_target(value: object) -> object:
    return {EVERY_TARGET: value} if isinstance(value, list | tuple) else value


ByTarget = Annotated[dict[str, tuple[Requirement, ...]], BeforeValidator(_by_target)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Base(_Table):
    """What every image stands on: a Debian or Ubuntu image with Python among its packages."""

    image: str = Field(default="debian:bookworm-slim", examples=["debian:bookworm-slim"])
    packages: tuple[str, ...] = Field(
        default=("ca-certificates", "libgomp1", "python3", "python3-venv", "tini"),
        examples=[["ca-certificates", "python3", "python3-venv", "tini"]],
    )


class Target(_Table):
    """What wheels are for. `cuda` is the major version of CUDA, empty where there is none.

    `architectures` are the GPUs (compute capabilities) for which code must be compiled in. `groups`
    are locked with those of its images, and in none of them: tools, of tests for example.
    """

    cuda: str = Field(default="", pattern=r"^\d*$", examples=["13"])
    architectures: tuple[str, ...] = Field(default=(), examples=[["80", "90"]])
    groups: tuple[str, ...] = Field(default=(), examples=[["test"]])


class Group(_Table):
    """Requirements that change together.

    `claims` are patterns of packages that go into this group's layer, whoever asks for them.
    `without` are packages that requirements ask for and that are left out. `probes` are names of
    Layerline's own or paths of programs in the source. `missing` are patterns of shared libraries
    that its files name and that need not be there. `from_source` are packages of which there is no
    wheel, each with the packages that build one.
    """

    requirements: ByTarget = Field(default_factory=dict, examples=[["numpy>=2"]])
    claims: tuple[str, ...] = Field(default=(), examples=[["nvidia-cudnn-*"]])
    without: tuple[str, ...] = Field(default=(), examples=[["opencv-python"]])
    packages: tuple[str, ...] = Field(default=(), examples=[["libgl1"]])
    probes: tuple[str, ...] = Field(default=(), examples=[["pytorch", "tests/probe.py"]])
    missing: tuple[str, ...] = Field(default=(), examples=[["libmlx5.so.*"]])
    from_source: dict[Name, tuple[Name, ...]] = Field(
        default_factory=dict, examples=[{"antlr4-python3-runtime": ["setuptools"]}]
    )

    def required(self, target: str) -> tuple[str, ...]:
        """Its requirements for a target."""
        everywhere = self.requirements.get(EVERY_TARGET, ())
        return self.requirements.get(target, everywhere)


class Image(_Table):
    """An image: the groups of one target, the source, and how it starts."""

    target: str = Field(examples=["cpu"])
    groups: tuple[str, ...] = Field(min_length=1, examples=[["core"]])
    source: tuple[str, ...] = Field(default=("**",), examples=[["src/**", "pyproject.toml"]])
    directories: tuple[Path, ...] = Field(default=(), examples=[["data", "outputs/logs"]])
    env: dict[str, str] = Field(default_factory=dict, examples=[{"PYTHONPATH": "/app/src"}])
    entrypoint: tuple[str, ...] = Field(default=("tini", "--"), examples=[["tini", "--"]])
    command: tuple[str, ...] = Field(default=("python",), examples=[["python", "-m", "train"]])
    ports: tuple[int, ...] = Field(default=(), examples=[[8000]])
    user: Name = Field(default="app", examples=["app"])
    healthcheck: tuple[str, ...] = Field(default=(), examples=[["python", "-m", "healthcheck"]])
    commands: tuple[str, ...] = Field(default=(), examples=[["tini", "python"]])
    budget_mb: int | None = Field(default=None, gt=0, examples=[9000])


class Definition(_Table):
    """The whole file."""

    base: Base = Field(default_factory=Base)
    targets: dict[Name, Target] = Field(min_length=1, examples=[{"cpu": {}}])
    groups: dict[Name, Group] = Field(
        min_length=1, examples=[{"core": {"requirements": ["numpy>=2"]}}]
    )
    images: dict[Name, Image] = Field(
        min_length=1, examples=[{"train": {"target": "cpu", "groups": ["core"]}}]
    )

    def image(self, name: str) -> Image:
        """The image of that name."""
        return _known(self.images, name, "image")

    def target(self, name: str) -> Target:
        """The target of that name."""
        return _known(self.targets, name, "target")

    def images_of(self, target: str) -> dict[str, Image]:
        """The images of a target."""
        self.target(target)
        return {name: image for name, image in self.images.items() if image.target == target}

    def groups_of(self, target: str) -> dict[str, Group]:
        """The groups of the target and of its images, and those that only claim packages."""
        used = {name for image in self.images_of(target).values() for name in image.groups}
        used.update(self.target(target).groups)
        return {
            name: group
            for name, group in sorted(self.groups.items())
            if name in used or (group.claims and not group.required(target))
        }


def read(text: str) -> Definition:
    """The definition that a `layerline.toml` holds; every mistake in it is told at once."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise DefinitionError([Complaint(f"is no TOML: {exc}")], text) from exc
    try:
        definition = Definition.model_validate(document)
    except PydanticError as exc:
        raise DefinitionError(complaints(exc, Definition), text) from exc
    if wrong := list(_dangling(definition)):
        raise DefinitionError(wrong, text)
    return definition


def _dangling(definition: Definition) -> Iterator[Complaint]:
    """What refers to something that is not there."""
    for name, group in definition.groups.items():
        for target in sorted(group.requirements.keys() - {EVERY_TARGET, *definition.targets}):
            yield Complaint(
                f"group {name} has requirements for {target!r}, which is no target; "
                f"{_one_of('targets', definition.targets)}",
                ("groups", name, "requirements", target),
            )
    for name, each in definition.targets.items():
        yield from _dangling_groups(definition, f"target {name}", each.groups, name)
    for name, image in definition.images.items():
        if image.target in definition.targets:
            yield from _dangling_groups(definition, f"image {name}", image.groups, image.target)
            continue
        yield Complaint(
            f"image {name} is for {image.target!r}, which is no target; "
            f"{_one_of('targets', definition.targets)}",
            ("images", name, "target"),
        )


def _dangling_groups(
    definition: Definition, subject: str, groups: Iterable[str], target: str
) -> Iterator[Complaint]:
    kind, _, name = subject.partition(" ")
    for group in groups:
        place = (f"{kind}s", name, "groups", group)
        if group not in definition.groups:
            message = f"{subject} has {group!r}, which is no group; "
            yield Complaint(message + _one_of("groups", definition.groups), place)
        elif not definition.groups[group].required(target):
            yield Complaint(
                f"group {group} of {subject} has no requirements for {target}; write "
                f"requirements = {{ {target} = [...] }} in [groups.{group}]",
                place,
            )


def _one_of(what: str, names: Mapping[str, Any]) -> str:
    return f"write one of the {what}: {', '.join(sorted(names))}"


def _known(table: Mapping[str, T], name: str, what: str) -> T:
    if name not in table:
        message = f"{FILE} has no {what} {name!r}; it has {', '.join(sorted(table))}"
        raise DefinitionError([Complaint(message)])
    return table[name]


def roots(group: Group, target: str) -> tuple[str, ...]:
    """The projects that a group asks for by name."""
    return tuple(project(requirement) for requirement in group.required(target))


def from_source(groups: Iterable[Group]) -> tuple[str, ...]:
    """The projects that are built from their source."""
    return tuple(sorted({name for group in groups for name in group.from_source}))


def builders(groups: Iterable[Group]) -> tuple[str, ...]:
    """The projects that build those; none of them is in an image for that."""
    found = {name for group in groups for them in group.from_source.values() for name in them}
    return tuple(sorted(found))
