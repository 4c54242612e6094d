"""Assembles images from the base, independent layers, the source and their configuration."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio
import dagger

from layerline.pipeline import changes, plan, probe
from layerline.pipeline.definition import Definition, Image
from layerline.pipeline.environment import PREFIX, Environment
from layerline.pipeline.layer import Layer
from layerline.pipeline.partition import Partition
from layerline.pipeline.plan import Plan
from layerline.pipeline.probe import Evidence
from layerline.pipeline.source import Selection, select
from layerline.pipeline.spans import BYTES, PASSED, Stopwatch, install_of, span

APP = "/app"
EPOCH = 315532800
EVIDENCE_LABEL = "layerline.evidence"


@dataclass(slots=True, kw_only=True, eq=False)
class Assembly:
    """The images of one target, which share their layers and the layers' evidence."""

    definition: Definition
    target: str
    partition: Partition
    environment: Environment
    source: dagger.Directory
    _files: dict[tuple[str, ...], dagger.Directory] = field(default_factory=dict, init=False)
    _selections: list[Selection] = field(default_factory=list, init=False)

    async def image(self, name: str) -> dagger.Container:
        """Build an image and run its probes; the evidence becomes a label of the image."""
        spec = self.definition.image(name)
        # The base, the installer, each layer and its probes, the image and its probes.
        steps = 4 + 2 * len(self.partition.of(spec.groups))
        with span(f"build {name}", steps=steps):
            found = await self.evidence(name)
            with span(f"assemble {name}"):
                assembled = await self.assemble(name, spec)
                return await assembled.with_label(EVIDENCE_LABEL, _label(found)).sync()

    async def evidence(self, name: str) -> list[Evidence]:
        """Run the probes of an image and its layers.

        Layers are built in parallel. The probes of a layer wait for those of the layers that it
        depends on: they reuse the bytecode of these, and a failure is reported for the layer that
        causes it.
        """
        spec = self.definition.image(name)
        layers = self.partition.of(spec.groups)
        foundations = self.partition.foundations(spec.groups)
        subject = probe.subject_of(name)
        clock = Stopwatch()
        await self.files_of(name, spec)  # a wrong pattern fails here, not after the layers
        for layer in layers:
            await self.environment.layer_files(layer)  # cached before several tasks need it
        await self.environment.prepare()
        found: dict[str, Evidence] = {}
        passed = {layer.name: anyio.Event() for layer in layers}

        async def gate(layer: Layer) -> None:
            found[layer.name] = await self._gated(layer, clock, foundations[layer.name], passed)
            passed[layer.name].set()

        async def gate_image() -> None:
            needed = sorted(set().union(*foundations.values()))
            await self._wait(f"probe {subject}", needed, passed)
            with span(f"probe {subject}") as opened, clock.lap() as probing:
                probed = await self._image_evidence(name)
                found[subject] = {**probed, "times": {"probes": probing}}
                opened.set_attribute(PASSED, len(probed["probes"]))

        try:
            async with anyio.create_task_group() as group:
                for layer in layers:
                    group.start_soon(gate, layer)
                group.start_soon(gate_image)
        except ExceptionGroup as several:
            # The first failure has cancelled the other tasks: show that one.
            raise several.exceptions[0] from None
        return [*(found[layer.name] for layer in layers), found[subject]]

    async def layer(self, name: str) -> Evidence:
        """Install a layer and run its probes, with the layers below it but without theirs."""
        layer = self.partition.layer(name)
        await self.environment.prepare()
        return await self._gated(layer, Stopwatch(), (), {})

    async def _gated(
        self,
        layer: Layer,
        clock: Stopwatch,
        below: Sequence[str],
        passed: Mapping[str, anyio.Event],
    ) -> Evidence:
        """Install a layer, wait until those `below` have passed, and run its probes."""
        with span(install_of(layer, self.target)) as opened, clock.lap() as installing:
            installed = json.loads(await self.environment.installed(layer))
            opened.set_attribute(BYTES, sum(installed["downloaded"].values()))
        await self._wait(f"probe {layer.name}", below, passed)
        with span(f"probe {layer.name}") as opened, clock.lap() as probing:
            probed = await self._layer_evidence(layer)
            opened.set_attribute(PASSED, len(probed["probes"]))
        return {**probed, **installed, "times": {"install": installing, "probes": probing}}

    @staticmethod
    async def _wait(who: str, needed: Sequence[str], passed: Mapping[str, anyio.Event]) -> None:
        """Wait until the layers that are needed have passed their probes."""
        if missing := [name for name in needed if not passed[name].is_set()]:
            with span(f"{who} waits for {', '.join(missing)}", waits=True):
                for name in missing:
                    await passed[name].wait()

    async def evidence_with_inputs(self, name: str) -> list[Evidence]:
        """The evidence with the inputs that a later plan compares with its own."""
        inputs = await self.inputs_of(name)
        found = [{**each, **inputs[each["subject"]]} for each in await self.evidence(name)]
        return [*found[:-1], {**found[-1], "files": await self.files(name)}]

    async def plan_build(self, name: str, earlier: Sequence[Evidence]) -> Plan:
        """Plan a build of an image, given the evidence of an earlier one."""
        now = await self.inputs_of(name) if earlier else {}
        subject = probe.subject_of(name)
        before = [each for each in earlier if each["subject"] == subject]
        same = all(each == {**each, **now[subject]} for each in before)
        return plan.of_image(
            name,
            self.partition.of(self.definition.image(name).groups),
            target=self.target,
            now=now,
            earlier=earlier,
            files={} if same else await self.files(name),
        )

    async def inputs_of(self, name: str) -> dict[str, Evidence]:
        """The inputs of an image and of each of its layers; starts no container."""
        spec = self.definition.image(name)
        found: dict[str, Evidence] = {}
        for layer in self.partition.of(spec.groups):
            probes = probe.of_layer(layer, self.definition, self.target)
            around = {"packages of the system": self._packages(layer.groups)}
            found[layer.name] = {
                "lock": plan.lock_digest(layer),
                "probed": {**await probe.identities(probes, self.source), **around},
            }
        found[probe.subject_of(name)] = {
            "inputs": await self.environment.inputs(),
            "image": spec.model_dump(mode="json"),
            "probed": await probe.identities(probe.of_image(spec, self.definition), self.source),
            "source": await (await self.files_of(name, spec)).digest(),
        }
        return found

    async def files(self, name: str) -> dict[str, dict[str, str]]:
        """Digests of the files that an image is built from, by their origin."""
        files = await self.files_of(name, self.definition.image(name))
        return {"source": await changes.manifest(files)}

    async def files_of(self, name: str, spec: Image) -> dagger.Directory:
        """The part of the source that goes into an image; a `DefinitionError` if it cannot."""
        key = (name, *spec.source)
        if key not in self._files:
            if not self._selections:  # what is visible is the same for every image
                self._selections.append(await select(self.source))
            selection = replace(self._selections[0], patterns=spec.source)
            await selection.check(name)
            self._files[key] = selection.files
        return self._files[key]

    async def assemble(self, name: str, spec: Image) -> dagger.Container:
        """An image without its evidence."""
        layers = self.partition.of(spec.groups)
        container = await self._base_with(layers, spec.groups, user=spec.user)
        filled = with_source(container, spec, await self.files_of(name, spec))
        return configure(filled, name, spec, self.definition)

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
        return await probe.evidence(
            await self.assemble(name, spec),
            probe.of_image(spec, self.definition),
            subject=probe.subject_of(name),
            source=self.source,
        )

    async def _base_with(
        self, layers: Sequence[Layer], groups: Sequence[str], *, user: str = "app"
    ) -> dagger.Container:
        system = await self.environment.system(self._packages(groups), user=user)
        return await self._with(system, layers)

    async def _with(self, container: dagger.Container, layers: Sequence[Layer]) -> dagger.Container:
        for layer in layers:
            container = container.with_directory(PREFIX, await self.environment.layer_files(layer))
        return container

    def _packages(self, groups: Sequence[str]) -> list[str]:
        """The system packages that groups need in addition to those of the base."""
        return sorted({name for each in groups for name in self.definition.groups[each].packages})


def with_source(
    container: dagger.Container, spec: Image, files: dagger.Directory
) -> dagger.Container:
    """Add the source's files and the image's directories, which are created empty, never copied.

    All have one timestamp instead of those of the checkout.
    """
    for name in sorted(spec.directories):
        files = files.with_new_directory(name, permissions=0o755)
    owner = f"{spec.user}:{spec.user}"
    return container.with_directory(APP, files.with_timestamps(EPOCH), owner=owner)


def configure(
    container: dagger.Container, name: str, spec: Image, definition: Definition
) -> dagger.Container:
    """Set the image's environment, command, user and labels."""
    for key, value in sorted(spec.env.items()):
        container = container.with_env_variable(key, value)
    for port in sorted(spec.ports):
        container = container.with_exposed_port(port)
    if spec.healthcheck:
        container = container.with_docker_healthcheck(list(spec.healthcheck))
    return (
        container.with_workdir(APP)
        .with_user(spec.user)
        .with_entrypoint(list(spec.entrypoint))
        .with_default_args(list(spec.command))
        .with_label("org.opencontainers.image.title", name)
        .with_label("org.opencontainers.image.base.name", definition.base.image)
        .with_label("layerline.target", spec.target)
    )


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
