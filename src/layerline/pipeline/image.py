"""An image: base, layers side by side, source, directories, and how it starts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import dagger

from layerline.pipeline import changes, plan, probe
from layerline.pipeline.definition import Definition, Image
from layerline.pipeline.environment import PREFIX, Environment
from layerline.pipeline.layer import Layer, Partition
from layerline.pipeline.plan import Plan
from layerline.pipeline.probe import Evidence

APP = "/app"
EPOCH = 315532800
EVIDENCE_LABEL = "layerline.evidence"


@dataclass(slots=True, kw_only=True, eq=False)
class Assembly:
    """The images of one target; layers and their evidence are made once for all of them."""

    definition: Definition
    target: str
    partition: Partition
    environment: Environment
    source: dagger.Directory

    async def image(self, name: str) -> dagger.Container:
        """A built image whose layers and whole have passed their probes; they are its label."""
        spec = self.definition.image(name)
        found = await self.evidence(name)
        return (await self.assembled(name, spec)).with_label(EVIDENCE_LABEL, _label(found))

    async def evidence(self, name: str) -> list[Evidence]:
        """What the probes of an image and of its layers say.

        Layers are made in parallel. Probes wait for those of what theirs stands on: they find the
        bytecode that these have left, and what fails is told of the layer that it is in.
        """
        spec = self.definition.image(name)
        layers = self.partition.of(spec.groups)
        foundations = self.partition.foundations(spec.groups)
        whole = probe.subject_of(name)
        for layer in layers:
            await self.environment.added(layer)  # known by its id before many want it at once
        found: dict[str, Evidence] = {}
        passed = {layer.name: anyio.Event() for layer in layers}

        async def gate(layer: Layer) -> None:
            installed = await (await self.environment.installed(layer)).stdout()
            for below in foundations[layer.name]:
                await passed[below].wait()
            found[layer.name] = {**await self._layer_evidence(layer), **json.loads(installed)}
            passed[layer.name].set()

        async def gate_whole() -> None:
            for below in sorted(set().union(*foundations.values())):
                await passed[below].wait()
            found[whole] = await self._image_evidence(name)

        try:
            async with anyio.create_task_group() as group:
                for layer in layers:
                    group.start_soon(gate, layer)
                group.start_soon(gate_whole)
        except ExceptionGroup as several:
            # The first failure has ended the others; the user is shown that one.
            raise several.exceptions[0] from None
        return [*(found[layer.name] for layer in layers), found[whole]]

    async def record(self, name: str) -> list[Evidence]:
        """The evidence with what a later plan is compared with."""
        about = await self.about(name)
        found = [{**each, **about[each["subject"]]} for each in await self.evidence(name)]
        return [*found[:-1], {**found[-1], "files": await self.files(name)}]

    async def planned(self, name: str, earlier: Sequence[Evidence]) -> Plan:
        """What building an image would run, compared with what an earlier build has recorded."""
        now = await self.about(name) if earlier else {}
        whole = probe.subject_of(name)
        before = [each for each in earlier if each["subject"] == whole]
        same = all(each == {**each, **now[whole]} for each in before)
        return plan.of_image(
            name,
            self.partition.of(self.definition.image(name).groups),
            now=now,
            earlier=earlier,
            files={} if same else await self.files(name),
        )

    async def about(self, name: str) -> dict[str, Evidence]:
        """What an image and each of its layers are made from; no container starts for it."""
        spec = self.definition.image(name)
        found: dict[str, Evidence] = {}
        for layer in self.partition.of(spec.groups):
            probes = probe.of_layer(layer, self.definition, self.target)
            around = {"packages of the system": self._packages(layer.groups)}
            found[layer.name] = {
                "lock": plan.lock_digest(layer),
                "wheels": await self.environment.wheels_of(layer).held(),
                "probed": {**await probe.identities(probes, self.source), **around},
            }
        found[probe.subject_of(name)] = {
            "inputs": await self.environment.inputs(),
            "image": spec.model_dump(mode="json"),
            "probed": await probe.identities(probe.of_image(spec, self.definition), self.source),
            "source": await source_of(spec, self.source).digest(),
        }
        return found

    async def files(self, name: str) -> dict[str, dict[str, str]]:
        """The digests of the files that an image is made from, by the place that they are from."""
        spec = self.definition.image(name)
        places = {
            "source": source_of(spec, self.source),
            "--wheelhouse": self.environment.wheels.wheelhouse,
        }
        return {place: await changes.manifest(files) for place, files in places.items() if files}

    async def assembled(self, name: str, spec: Image) -> dagger.Container:
        """An image without its evidence."""
        layers = self.partition.of(spec.groups)
        container = await self._placed(layers, spec.groups, user=spec.user)
        return configured(with_source(container, spec, self.source), name, spec, self.definition)

    async def tools(self, groups: Sequence[str]) -> dagger.Container:
        """The base with the layers of groups, which need not be together in any image."""
        return await self._placed(self.partition.of(groups), groups)

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
        """Probe a layer with nothing but the base and the layers that it needs."""
        layers = sorted((layer, *self.partition.below(layer)), key=lambda each: each.name)
        return await probe.evidence(
            await self._placed(layers, layer.groups),
            probe.of_layer(layer, self.definition, self.target),
            subject=layer.name,
            source=self.source,
            packages=[pin.name for pin in layer.pins],
        )

    async def _image_evidence(self, name: str) -> Evidence:
        spec = self.definition.image(name)
        return await probe.evidence(
            await self.assembled(name, spec),
            probe.of_image(spec, self.definition),
            subject=probe.subject_of(name),
            source=self.source,
        )

    async def _placed(
        self, layers: Sequence[Layer], groups: Sequence[str], *, user: str = "app"
    ) -> dagger.Container:
        system = await self.environment.system(self._packages(groups), user=user)
        return await self._with(system, layers)

    async def _with(self, container: dagger.Container, layers: Sequence[Layer]) -> dagger.Container:
        for layer in layers:
            container = container.with_directory(PREFIX, await self.environment.added(layer))
        return container

    def _packages(self, groups: Sequence[str]) -> list[str]:
        """The packages of the distribution that groups want beside those of the base."""
        return sorted({name for each in groups for name in self.definition.groups[each].packages})


def with_source(
    container: dagger.Container, spec: Image, source: dagger.Directory
) -> dagger.Container:
    """The source, and the directories that a run fills: made here and never copied.

    They have one time, and none of the checkout's.
    """
    files = source_of(spec, source)
    for name in sorted(spec.directories):
        files = files.with_new_directory(name, permissions=0o755)
    owner = f"{spec.user}:{spec.user}"
    return container.with_directory(APP, files.with_timestamps(EPOCH), owner=owner)


def source_of(spec: Image, source: dagger.Directory) -> dagger.Directory:
    """The part of the source that goes into an image."""
    return source.filter(include=list(spec.source))


def configured(
    container: dagger.Container, name: str, spec: Image, definition: Definition
) -> dagger.Container:
    """How the image starts, and what it says of itself."""
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
    """Evidence as an image carries it: what was found, so that equal images are equal."""
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
