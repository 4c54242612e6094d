"""A project: its source with a `layerline.toml` and locks, and where its wheels come from."""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import dagger

from layerline.pipeline import base_pins, base_resolution, lock
from layerline.pipeline.base_pins import BasePins
from layerline.pipeline.base_system import BaseSystem
from layerline.pipeline.definition import Definition, parse_definition
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.environment import Environment
from layerline.pipeline.foreign_lock import merge, with_directories
from layerline.pipeline.image import Assembly
from layerline.pipeline.image_config import APP
from layerline.pipeline.layer import INSTALLER
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import platform_of
from layerline.pipeline.network import network
from layerline.pipeline.partition import partition
from layerline.pipeline.patched_environment import PatchedEnvironment
from layerline.pipeline.plan import Plan
from layerline.pipeline.probe import Evidence
from layerline.pipeline.project_layer import ProjectLayer
from layerline.pipeline.projects import ProjectBuild, Projects, check_recorded
from layerline.pipeline.source import check_patterns, select
from layerline.pipeline.spans import span
from layerline.pipeline.supplies import Supplies
from layerline.pipeline.wheels import Wheels


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The functions' project. `credentials` are for the hosts of the indexes in `wheels`."""

    source: dagger.Directory
    wheels: Wheels
    ca_bundle: dagger.File | None = None
    credentials: dagger.Secret | None = None
    offline: bool = False
    snapshot: tuple[str, ...] = ()
    earlier: dagger.Directory | None = None

    async def definition(self) -> Definition:
        """The project's `layerline.toml`; a `DefinitionError` lists what is wrong with it."""
        text = await self.source.file(FILE).contents()
        definition = parse_definition(text)
        check_patterns(definition, text)
        for name, target in definition.targets.items():
            if target.lock and (theirs := await self._text(target.lock)):
                platform = platform_of(await self.own_lock(name))
                definition = with_directories(definition, name, theirs, platform)
        return definition

    async def name(self) -> str:
        """The name that pyproject.toml gives the project (PEP 621); empty without one."""
        return await self._of_project("name")

    async def version(self) -> str:
        """The version that pyproject.toml gives the project; empty where it gives none."""
        return await self._of_project("version")

    async def _of_project(self, key: str) -> str:
        text = await self._text("pyproject.toml")
        try:
            return str(tomllib.loads(text).get("project", {}).get(key, ""))
        except tomllib.TOMLDecodeError:
            return ""

    async def own_lock(self, target: str) -> str:
        """The lock that this pipeline wrote for a target; empty before the first `lock`."""
        return await self._text(lock.path(target))

    async def foreign_lock(self, definition: Definition, target: str) -> str:
        """The lock that another tool wrote for a target; empty if the target names none."""
        path = definition.target(target).lock
        text = await self._text(path) if path else ""
        if path and not text:
            message = (
                f"{path} does not exist, which [targets.{target}] of {FILE} has as its lock: "
                "create it with its tool, or remove the key"
            )
            raise LockError(message)
        return text

    async def lock_text(self, definition: Definition, target: str) -> str:
        """The lock of a target, of both; empty before the first `lock`."""
        own = await self.own_lock(target)
        theirs = await self.foreign_lock(definition, target)
        return merge(own, theirs, definition, target) if own and theirs else own

    async def _text(self, path: str) -> str:
        if not await self.source.glob(path):
            return ""
        return await self.source.file(path).contents()

    async def image(self, name: str) -> dagger.Container:
        """Build an image whose layers, and which itself, have passed their probes."""
        return await (await self.assembly_of(name)).image(name)

    async def assembly_of(self, image: str) -> Assembly:
        """The assembly of an image's target."""
        definition = await self.definition()
        return await self.assembly(definition, definition.image(image).target)

    async def assemblies(self, images: Sequence[str]) -> dict[str, Assembly]:
        """The assemblies of images, or of all, by image; images of a target have the same one."""
        definition = await self.definition()
        names = images or sorted(definition.images)
        targets = {name: definition.image(name).target for name in names}
        made = {
            each: await self.assembly(definition, each) for each in dict.fromkeys(targets.values())
        }
        return {name: made[target] for name, target in targets.items()}

    async def assembly(self, definition: Definition, target: str) -> Assembly:
        """All layers and images of a target."""
        with span(f"read the source and the lock of {target}"):
            text = await self.lock_text(definition, target)
            parts = partition(text, definition, target)
            base = base_pins.read_fitting(text, definition, target)
            if base is None:
                print(base_pins.advice(target), file=sys.stderr)
            environment = await self.environment(definition, target, text, base)
            if self.earlier is not None:
                environment = await self._patched(definition, target, text, environment)
            projects = await self.projects(definition, target)
            check_recorded(text, await projects.requirements(), target)
        return Assembly(
            definition=definition,
            target=target,
            partition=parts,
            environment=environment,
            source=self.source,
            selection=projects.selection,
            projects=ProjectLayer(
                environment=environment,
                projects=projects,
                parts=parts,
                platform=platform_of(text),
                app=APP,
            ),
        )

    async def _patched(
        self, definition: Definition, target: str, text: str, newer: Environment
    ) -> Environment:
        """The environment of the lock's base with the layers of the earlier lock's."""
        base = await self._earlier_base(definition, target)
        same = {each.name: getattr(newer, each.name) for each in fields(newer)}
        earlier = await self.environment(definition, target, text, base)
        return PatchedEnvironment(**same, earlier=earlier)

    async def _earlier_base(self, definition: Definition, target: str) -> BasePins:
        name = f"{target}.txt"
        if self.earlier is None or not await self.earlier.glob(name):
            message = f"the earlier locks have no {name}: give the directory locks of that time"
            raise LockError(message)
        text = await self.earlier.file(name).contents()
        return base_pins.read_earlier(text, definition, target)

    async def upgraded(self, target: str) -> "Project":
        """The project with the newest base under the layers of the lock that it has."""
        definition = await self.definition()
        text = await self.own_lock(target)
        base_pins.read_earlier(text, definition, target)
        base = await self.pinned_base(definition, target, text, upgrade=True)
        earlier = dagger.dag.directory().with_new_file(f"{target}.txt", text)
        newer = base_pins.insert_pins(base_pins.without_pins(text), base)
        source = self.source.with_new_file(lock.path(target), newer)
        return replace(self, source=source, earlier=earlier)

    async def plans(
        self, images: Sequence[str], earlier: Mapping[str, Sequence[Evidence]]
    ) -> list[Plan]:
        """Plan builds of images, or of all, given what `evidence` has saved of each."""
        return [
            await assembly.plan_build(name, earlier.get(name, ()))
            for name, assembly in (await self.assemblies(images)).items()
        ]

    async def builds(self, definition: Definition, target: str) -> dict[str, ProjectBuild]:
        """The builds of a target's projects, by directory."""
        if not any(image.projects for image in definition.images_of(target).values()):
            return {}
        return await (await self.projects(definition, target)).builds()

    async def projects(self, definition: Definition, target: str) -> Projects:
        """The projects that the images of a target build."""
        selection = await select(self.source)
        return Projects(definition=definition, target=target, selection=selection)

    async def pinned_base(
        self, definition: Definition, target: str, current: str, *, upgrade: bool
    ) -> BasePins | None:
        """The pins that a lock is to have: the current ones, unless these are out of date.

        A lock without pins gets them by an upgrade.
        """
        base = BasePins.read(current)
        if not upgrade and (base is None or not list(base.misfits(definition))):
            return base
        is_same = not upgrade and base is not None and base.image == definition.base.image
        kept = base if is_same else None
        environment = await self.environment(definition, target, current, kept)
        return await base_resolution.pin(environment, definition)

    async def environment(
        self, definition: Definition, target: str, locked: str, base: BasePins | None
    ) -> Environment:
        """The build environment of a target on a base.

        `locked` is the lock with the installer's version.
        """
        definition.target(target)
        pins = lock.parse(locked)
        reached = await network(
            ca_bundle=self.ca_bundle,
            credentials=self.credentials,
            offline=self.offline,
            indexes=self.wheels.indexes,
            masked=self.wheels.hosts,
        )
        system = BaseSystem(
            table=definition.base,
            target=target,
            pins=base,
            snapshot=self.snapshot or definition.base.snapshot,
        )
        await reached.check_base(system.image)
        return Environment(
            target=target,
            base=system,
            supplies=Supplies(
                base=system.image,
                target=definition.target(target),
                wheels=self.wheels,
                network=reached,
            ),
            installer=lock.requirements([pins[INSTALLER]]) if INSTALLER in pins else INSTALLER,
        )
