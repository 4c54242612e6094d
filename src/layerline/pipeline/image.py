"""Assembles images from the base, independent layers, the source and their configuration."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import dagger

from layerline.pipeline import changes, image_facts, image_probes, plan, probe, step_inputs
from layerline.pipeline.base_system import PREFIX
from layerline.pipeline.bytecode import Bytecode
from layerline.pipeline.definition import MEASURED, Definition, Image
from layerline.pipeline.environment import USER, Environment
from layerline.pipeline.gates import Gates
from layerline.pipeline.image_config import APP, configure, with_source
from layerline.pipeline.layer import Layer
from layerline.pipeline.partition import Partition
from layerline.pipeline.plan import Plan
from layerline.pipeline.probe import EVIDENCE_LABEL, Evidence, Probe
from layerline.pipeline.project_layer import ProjectLayer
from layerline.pipeline.source import Selection, select
from layerline.pipeline.spans import BYTES, PASSED, SIZE, install_of, span


@dataclass(slots=True, kw_only=True, eq=False)
class Assembly:
    """The images of one target, which share their layers and the layers' evidence."""

    definition: Definition
    target: str
    partition: Partition
    environment: Environment
    source: dagger.Directory
    selection: Selection
    projects: ProjectLayer
    _files: dict[tuple[str, ...], dagger.Directory] = field(default_factory=dict, init=False)

    @property
    def of_layers(self) -> Environment:
        """The environment that layers are made in."""
        return self.environment.of_layers

    @property
    def bytecode(self) -> Bytecode:
        """The bytecode of the layers."""
        return Bytecode(environment=self.of_layers)

    async def of(self, source: dagger.Directory) -> "Assembly":
        """The assembly of another source with the same layers."""
        return replace(self, source=source, selection=await select(source))

    async def image(self, name: str) -> dagger.Container:
        """Build an image and run its probes; the evidence becomes a label of the image."""
        return (await self.image_with_evidence(name))[0]

    async def image_with_evidence(self, name: str) -> tuple[dagger.Container, list[Evidence]]:
        """Build an image; the container, and what the probes of its layers and its own found."""
        spec = self.definition.image(name)
        with span(f"build {name}", steps=self._steps(spec) + 1):
            gates = await self._find(name)
            found, row = gates.evidence, {"part": gates.subject, "target": self.target}
            with span(f"assemble {name}", gates.of_image, **row):
                assembled = await self.assemble(name, spec)
                labelled = assembled.with_label(EVIDENCE_LABEL, _label(found))
                return await labelled.sync(), found

    async def describe(self, image: dagger.Container) -> dict[str, Any]:
        """The digest of an image, and the bytes of its layers as they are transferred."""
        # Not `as_tarball`: an archive, as large as the image, would stay in the engine's store.
        with span("compute the image's digest"), tempfile.TemporaryDirectory() as place:
            return image_facts.read(await image.export(f"{place}/image.tar"))

    async def evidence(self, name: str) -> list[Evidence]:
        """Run the probes of an image and its layers; what they found, the image's last."""
        return (await self._validate(name)).evidence

    async def _validate(self, name: str) -> Gates:
        """Run the probes of an image and its layers.

        Layers are built and probed in parallel. What the probes of a layer find is reported after
        those of the layers that it depends on: a failure is that of the layer that causes it.
        """
        with span(f"validate {name}", steps=self._steps(self.definition.image(name))):
            return await self._find(name)

    async def _find(self, name: str) -> Gates:
        spec = self.definition.image(name)
        layers = self.partition.of(spec.groups)
        subject = probe.subject_of(name)
        await self.files_of(name, spec)  # a wrong pattern fails here, not after the layers
        await self.environment.fetch_base()
        try:
            gates = Gates(
                subject=subject,
                inputs=await self._prepare(name, layers),
                layers=layers,
                foundations=self.partition.foundations(spec.groups),
            )
            async with anyio.create_task_group() as group:
                for layer in layers:
                    group.start_soon(self._gate, layer, gates)
                if spec.projects:
                    group.start_soon(self.projects.wheels, name, spec)
                group.start_soon(self._gate_image, name, gates)
        except ExceptionGroup as several:
            # The first failure has cancelled the other tasks: show that one.
            raise several.exceptions[0] from None
        return gates

    async def _prepare(self, name: str, layers: Sequence[Layer]) -> dict[str, Evidence]:
        """Prepare what all layers need, and meanwhile ask for the inputs of an image."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.environment.prepare)
            inputs = await self.inputs_of(name)
            for layer in layers:
                await self.of_layers.layer_files(layer)  # cached before several tasks need it
        return inputs

    async def layer(self, name: str) -> Evidence:
        """Install a layer and run its probes, with the layers below it but without theirs."""
        layer = self.partition.layer(name)
        await self.environment.fetch_base()
        inputs = {name: await self._inputs_of_layer(layer)}
        gates = Gates(subject=name, inputs=inputs, layers=(layer,), foundations={name: ()})
        await self.environment.prepare()
        await self._gate(layer, gates)
        return gates.found[name]

    async def _gate(self, layer: Layer, gates: Gates) -> None:
        """Install and compile a layer; probe it once those that it depends on are made."""
        name, clock = layer.name, gates.clock
        row = {"part": name, "target": self.target}
        base = await self.of_layers.inputs()
        depends = step_inputs.of_install(layer, base, self.of_layers.build_inputs())
        with (
            span(install_of(layer, self.target), depends, **row) as opened,
            clock.lap() as installing,
        ):
            installed = json.loads(await self.of_layers.installed(layer))
            opened.set_attribute(BYTES, sum(installed["downloaded"].values()))
        depends = step_inputs.of_compile(base, self.bytecode.identity)
        with span(f"compile {name}", depends, **row) as opened, clock.lap() as compiling:
            compiled = await self.bytecode.compile(layer, lambda: self._place(layer))
            opened.set_attribute(SIZE, compiled["bytes"])
        gates.ready[name].set()
        await gates.wait_for_layer(layer)
        below = [each for each in self.partition.with_needed(layer) if each is not layer]
        depends = step_inputs.of_probes(gates.inputs[name], below)
        async with gates.below_first(layer):
            with span(f"probe {name}", depends, **row) as opened, clock.lap() as probing:
                probed = await self._layer_evidence(layer)
                opened.set_attribute(PASSED, len(probed["probes"]))
                opened.set_attribute(SIZE, sum(each["bytes"] for each in probed["packages"]))
        gates.found[name] = {
            **probed,
            "seconds": installed["seconds"],
            "downloaded": installed["downloaded"],
            "bytecode": compiled,
            "times": {"install": installing, "compile": compiling, "probes": probing},
        }
        gates.passed[name].set()

    async def _place(self, layer: Layer) -> None:
        """Put the files of a layer where its probes and images have them."""
        await (await self._base_with([layer], layer.groups, bytecode=False)).sync()

    async def _gate_image(self, name: str, gates: Gates) -> None:
        """Probe an image once it can be assembled."""
        spec = self.definition.image(name)
        if self._has_own_system(spec):
            # It takes as long as a layer: in parallel with them.
            with span(f"prepare packages of {name}", part="base", target=self.target):
                packages = self._packages(spec.groups)
                await (await self.environment.system(packages, user=spec.user)).sync()
        files = await changes.manifest(await self.files_of(name, spec), most=step_inputs.MOST_FILES)
        gates.of_image = step_inputs.of_image(gates.inputs[gates.subject], gates.layers, files)
        await gates.wait_for_image()
        row = {"part": gates.subject, "target": self.target}
        async with gates.below_first():
            with (
                span(f"probe {gates.subject}", gates.of_image, **row) as opened,
                gates.clock.lap() as probing,
            ):
                probed = await self._image_evidence(name)
                opened.set_attribute(PASSED, len(probed["probes"]))
        gates.found[gates.subject] = {**probed, "times": {"probes": probing}}

    def _steps(self, spec: Image) -> int:
        """How many spans there are: of the base, the installer, layers, probes and projects."""
        layers = 3 * len(self.partition.of(spec.groups))
        return 4 + layers + self._has_own_system(spec) + len(spec.projects)

    def _has_own_system(self, spec: Image) -> bool:
        """Whether an image has packages of the system or a user that layers are built without."""
        return bool(self._packages(spec.groups)) or spec.user != USER

    async def evidence_with_inputs(self, name: str) -> list[Evidence]:
        """The evidence with the inputs that a later plan compares with its own."""
        gates = await self._validate(name)
        found = [{**each, **gates.inputs[each["subject"]]} for each in gates.evidence]
        return [*found[:-1], {**found[-1], "files": await self.files(name)}]

    async def plan_build(self, name: str, earlier: Sequence[Evidence]) -> Plan:
        """Plan a build of an image, given the evidence of an earlier one."""
        now: dict[str, Evidence] = {}
        files: dict[str, dict[str, str]] = {}
        if earlier:
            await self.environment.fetch_base()
            with span(f"compare {name} with its earlier build"):
                now = await self.inputs_of(name)
                subject = probe.subject_of(name)
                before = [each for each in earlier if each["subject"] == subject]
                if not all(each == {**each, **now[subject]} for each in before):
                    files = await self.files(name)
        return plan.of_image(
            name,
            self.partition.of(self.definition.image(name).groups),
            target=self.target,
            now=now,
            earlier=earlier,
            files=files,
        )

    async def inputs_of(self, name: str) -> dict[str, Evidence]:
        """The inputs of an image and of each of its layers; starts no container."""
        spec = self.definition.image(name)
        layers = self.partition.of(spec.groups)
        found = {layer.name: await self._inputs_of_layer(layer) for layer in layers}
        own = await self.environment.inputs()
        of_layers = await self.of_layers.inputs()
        found[probe.subject_of(name)] = {
            "inputs": own,
            **({plan.OF_LAYERS: of_layers} if of_layers != own else {}),
            "image": spec.model_dump(mode="json", exclude={*MEASURED}),
            "probed": await probe.identities(probe.of_image(spec, self.definition), self.source),
            "source": await (await self.files_of(name, spec)).digest(),
        }
        if spec.projects:
            sources = {path: self.projects.source(path) for path in spec.projects}
            found[probe.subject_of(name)]["projects"] = {
                path: await source.digest() for path, source in sources.items()
            }
        return found

    async def _inputs_of_layer(self, layer: Layer) -> Evidence:
        probes = probe.of_layer(layer, self.definition, self.target)
        around = {
            "bytecode": self.bytecode.identity,
            "packages of the system": self._packages(layer.groups),
        }
        return {
            "lock": plan.lock_digest(layer),
            "probed": {**await probe.identities(probes, self.source), **around},
        }

    async def files(self, name: str) -> dict[str, dict[str, str]]:
        """Digests of the files that an image is built from, by their origin."""
        spec = self.definition.image(name)
        files = await self.files_of(name, spec)
        return {
            "source": await changes.manifest(files),
            **{
                f"project {path}": await changes.manifest(self.projects.source(path))
                for path in spec.projects
            },
        }

    async def files_of(self, name: str, spec: Image) -> dagger.Directory:
        """The part of the source that goes into an image; a `DefinitionError` if it cannot."""
        key = (name, *spec.source)
        if key not in self._files:
            selection = replace(self.selection, patterns=spec.source)
            await selection.check(name)
            self._files[key] = selection.files
        return self._files[key]

    async def assemble(self, name: str, spec: Image) -> dagger.Container:
        """An image without its evidence."""
        container = await self._installed(spec)
        filled = with_source(container, spec, await self.files_of(name, spec))
        return configure(await self._with_projects(filled, name, spec), name, spec, self.definition)

    async def _without_source(self, name: str, spec: Image) -> dagger.Container:
        """An image with all that is installed in it, but without its source."""
        container = await self._with_projects(await self._installed(spec), name, spec)
        return configure(container, name, spec, self.definition)

    async def _installed(self, spec: Image) -> dagger.Container:
        return await self._base_with(
            self.partition.of(spec.groups),
            spec.groups,
            user=spec.user,
            limit_mb=spec.max_layer_mb,
            bytecode=spec.bytecode,
        )

    async def _with_projects(
        self, container: dagger.Container, name: str, spec: Image
    ) -> dagger.Container:
        if not spec.projects:
            return container
        return container.with_directory(PREFIX, await self.projects.files(name, spec))

    async def tools(self, groups: Sequence[str]) -> dagger.Container:
        """The base with the layers of groups, whether or not an image combines them."""
        return await self._base_with(self.partition.of(groups), groups)

    async def with_tools(
        self, container: dagger.Container, name: str, groups: Sequence[str]
    ) -> dagger.Container:
        """An image with the layers that further groups need."""
        has = self.definition.image(name).groups
        further = [
            layer for layer in self.partition.of(groups) if not set(has).intersection(layer.groups)
        ]
        return await self._with(container, further)

    async def _layer_evidence(self, layer: Layer) -> Evidence:
        """Probe a layer on the base with only the layers that it needs."""
        return await probe.evidence(
            await self._base_with(self.partition.with_needed(layer), layer.groups),
            probe.of_layer(layer, self.definition, self.target),
            subject=layer.name,
            source=self.source,
            packages=[pin.name for pin in layer.pins],
        )

    async def _image_evidence(self, name: str) -> Evidence:
        spec = self.definition.image(name)
        probes = probe.of_image(spec, self.definition)
        if spec.projects:
            wheels = await self.projects.wheels(name, spec)
            pins = tuple(f"{each.name}=={each.version}" for each in wheels)
            probes = (*probes, Probe(program="versions", arguments=pins))
        return await image_probes.evidence(
            await self._without_source(name, spec),
            await self.assemble(name, spec),
            probes,
            subject=probe.subject_of(name),
            source=self.source,
            place=APP,
            compiled=spec.bytecode,
        )

    async def _base_with(
        self,
        layers: Sequence[Layer],
        groups: Sequence[str],
        *,
        user: str = USER,
        limit_mb: int | None = None,
        bytecode: bool = True,
    ) -> dagger.Container:
        system = await self.environment.system(self._packages(groups), user=user)
        return await self._with(system, layers, limit_mb, bytecode=bytecode)

    async def _with(
        self,
        container: dagger.Container,
        layers: Sequence[Layer],
        limit_mb: int | None = None,
        *,
        bytecode: bool = True,
    ) -> dagger.Container:
        """A container with layers, and with the bytecode of each above it."""
        for layer in layers:
            for part in await self.of_layers.layer_parts(layer, limit_mb):
                container = container.with_directory(PREFIX, part)
            for part in await self.bytecode.files(layer, limit_mb) if bytecode else ():
                container = container.with_directory(PREFIX, part)
        return container

    def _packages(self, groups: Sequence[str]) -> list[str]:
        """The system packages that groups need in addition to those of the base."""
        return sorted({name for each in groups for name in self.definition.groups[each].packages})


def _label(found: Sequence[Evidence]) -> str:
    """Evidence as an image's label, without seconds: equal images have equal labels."""
    kept = [
        {
            "subject": each["subject"],
            "packages": each["packages"],
            "probes": [
                {key: value for key, value in one.items() if key != "seconds"}
                for one in each["probes"]
            ],
        }
        for each in found
    ]
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))
