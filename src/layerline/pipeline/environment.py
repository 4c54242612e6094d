"""The containers that layers are built in: the base, and the base with the installer.

Every image has its packages in one virtual environment at PREFIX; a layer is what an installation
adds below it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagger
from dagger import dag

from layerline.pipeline import base_pins, changes, lock, step_inputs
from layerline.pipeline.base_system import PREFIX, BaseSystem
from layerline.pipeline.bases import DISTRIBUTIONS, BaseUnavailable, ways_to
from layerline.pipeline.layer import INSTALLER, Layer
from layerline.pipeline.lock import Pin
from layerline.pipeline.object_ids import IdCache
from layerline.pipeline.origins import parse_origin
from layerline.pipeline.spans import span
from layerline.pipeline.supplies import Mounts, Supplies

USER = "app"
PYTHON = f"{PREFIX}/bin/python"
UV_CACHE = "/mnt/uv"
_PIP_CACHE = "/root/.cache/pip"
_TOOLS = "/mnt/tools"
TOOLS_PYTHON = f"{_TOOLS}/bin/python"
_PROGRAMS = Path(__file__).parent / "programs"
UV = f"{_TOOLS}/bin/uv"
_INSTALLER = "/mnt/installer.txt"
_SOURCE = "/mnt/source"
KEPT = "/mnt/sources"
BUILT = "/mnt/built"
# Where programs of several modules are mounted, and the package that they are of.
_MODULES = "/mnt/programs"
PACKAGE = "layerline.pipeline.programs"
# https://setuptools-scm.readthedocs.io/en/latest/overrides/
_SCM_VERSION = "SETUPTOOLS_SCM_PRETEND_VERSION"
_GIT = "git"
_NONE = frozenset[str]()
WHEELS_ONLY = ("--no-deps", "--require-hashes", "--only-binary=:all:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Builds the layers of one target, with the target's own cache volumes."""

    target: str
    base: BaseSystem
    supplies: Supplies
    installer: str
    ids: IdCache = field(default_factory=IdCache)
    references: dict[str, str] = field(default_factory=dict)

    @property
    def of_layers(self) -> "Environment":
        """The environment that layers and wheels are made in."""
        return self

    def with_git(self) -> "Environment":
        """One that builds with git, as the distribution has it now: it reads, and no image has it.

        Pins name no git, so it is installed without them, on the base that they name.
        """
        if _GIT in self.base.table.build_packages:
            return self
        packages = (*self.base.table.build_packages, _GIT)
        more = {"image": self.base.image, "build_packages": packages}
        base = replace(self.base, table=self.base.table.model_copy(update=more), pins=None)
        return replace(self, base=base, ids=IdCache())

    async def system(self, packages: Sequence[str] = (), *, user: str = USER) -> dagger.Container:
        """The base image with system packages, the run user and an empty prefix."""
        wanted = sorted({*self.base.table.packages, *packages})
        key = f"system for {user} with {' '.join(wanted)}"
        mounts = await self.supplies.of("system")
        return await self.ids.container(key, lambda: self.base.container(wanted, user, mounts))

    async def builder(self, packages: Sequence[str] = ()) -> dagger.Container:
        """The base with the installer outside the prefix; the newest without a lock."""
        system = await self.system(packages)
        mounts = await self.supplies.of("installer", [INSTALLER])
        key = " ".join(["builder", *packages])
        return await self.ids.container(key, lambda: self._builder(system, mounts))

    def _builder(self, system: dagger.Container, mounts: Mounts) -> dagger.Container:
        hashed = WHEELS_ONLY if "--hash" in self.installer else ()
        return (
            system.with_mounted_cache(_PIP_CACHE, self.volume("resolve"))
            .with_(mounts.add)
            .with_new_file(_INSTALLER, self.installer)
            .with_exec(
                ["sh", "-s", "--", _TOOLS, _INSTALLER, *hashed], stdin=program("installer.sh")
            )
            .with_(mounts.remove)
            .without_mount(_PIP_CACHE)
        )

    async def fetch_base(self) -> str:
        """The base image's reference with its digest; fetched once, in a span of its own."""
        image, python = self.base.image, self.base.table.python
        if image not in self.references:
            with span(f"fetch {image}", part="base", target=self.target):
                try:
                    self.references[image] = await dag.container().from_(image).image_ref()
                except dagger.QueryError as exc:
                    if self.base.pins is not None:
                        upgrade = base_pins.upgrade_command(self.target)
                        message = (
                            f"{exc}\nthe lock pins this base: reach a registry that has it, or pin "
                            f"the one that is offered with '{upgrade}'"
                        )
                        raise BaseUnavailable(message) from exc
                    if python in {"", *DISTRIBUTIONS}:
                        raise
                    message = f"{exc}\n{ways_to(python, image)}"
                    raise BaseUnavailable(message) from exc
        return self.references[image]

    async def prepare(self) -> None:
        """Prepare what all layers need: the base, and the installer on it."""
        depends = step_inputs.of_base(await self.inputs())
        row = {"part": "base", "target": self.target}
        with span(f"prepare {self.base.table.image}", depends, **row):
            await self.supplies.again((await self.system()).stdout)
        [installer, *_] = self.installer.split()
        with span(f"install {installer}", depends, **row):
            await self.supplies.again((await self.builder()).stdout)

    async def inputs(self) -> dict[str, Any]:
        """The inputs of every layer, by the name that a user knows them by."""
        found = await self.fetch_base()
        steps = "".join([self.base.steps(), program("installer.sh"), program("install.py")])
        [installer, *_] = self.installer.split()
        return {
            "base": found,
            "base.packages": list(self.base.table.packages),
            **self.base.names(),
            "installer": f"{installer} {changes.digest(self.installer)}",
            "Layerline's own steps": changes.digest(steps),
        }

    def build_inputs(self) -> dict[str, Any]:
        """The further inputs of what is built from its source, by the same kind of name."""
        steps = "".join(map(program, ("build_wheel.py", "sandbox.py", "fetch_source.py")))
        return {
            "base.build_packages": list(self.base.table.build_packages),
            "Layerline's build steps": changes.digest(steps),
        }

    async def prefix(self) -> dagger.Directory:
        """The empty prefix."""
        system = await self.system()
        return await self.ids.directory(
            "prefix", lambda: dag.directory().with_directory("/", system.directory(PREFIX))
        )

    async def install(self, layer: Layer) -> dagger.Container:
        """Install a layer's packages in the builder; stdout has seconds and bytes as JSON."""
        builder, prefix = await self.builder(), await self.prefix()
        projects = [pin.name for pin in layer.pins]
        mounts = await self.supplies.of(f"{self.target}-{layer.name}", projects)
        key = f"installed {layer.name}"
        wheels = [await self._wheel_of(pin, layer) for pin in layer.built]
        return await self.ids.container(
            key, lambda: self._install(layer, builder, prefix, mounts, wheels)
        )

    async def installed(self, layer: Layer) -> str:
        """Run the installation of a layer, or find it in the cache; returns its stdout."""
        if layer.name not in self.ids.outputs:
            container = await self.install(layer)
            self.ids.outputs[layer.name] = await self.supplies.again(container.stdout)
        return self.ids.outputs[layer.name]

    def _install(
        self,
        layer: Layer,
        builder: dagger.Container,
        prefix: dagger.Directory,
        mounts: Mounts,
        wheels: Sequence[dagger.Directory] = (),
    ) -> dagger.Container:
        container = (
            builder.with_mounted_directory(PREFIX, prefix)
            .with_mounted_cache(UV_CACHE, self.volume(layer.name))
            .with_(mounts.add)
        )
        for place, files in zip(_places(wheels), wheels, strict=True):
            container = container.with_mounted_directory(place, files)
        return container.with_exec(
            [
                *("python3", "-c", program("install.py"), PREFIX),
                *(UV, "pip", "install", f"--python={PYTHON}", f"--cache-dir={UV_CACHE}"),
                *("--link-mode=copy", *WHEELS_ONLY, *_flags(wheels), "--requirements=-"),
            ],
            stdin=layer.wheel_requirements,
        )

    async def layer_files(self, layer: Layer) -> dagger.Directory:
        """The files of a layer: what its installation adds to the empty prefix."""
        prefix, installed = await self.prefix(), await self.install(layer)
        return await self.ids.directory(
            f"added {layer.name}", lambda: prefix.diff(installed.directory(PREFIX))
        )

    async def layer_parts(self, layer: Layer, limit_mb: int | None) -> list[dagger.Directory]:
        """The files of a layer; by package in several parts if they are larger than the limit."""
        files = await self.layer_files(layer)
        if limit_mb is None:
            return [files]
        system = await self.system()
        argv = ["python3", "-c", program("split_layer.py"), PREFIX, str(limit_mb * 1_000_000)]
        split = system.with_mounted_directory(PREFIX, files).with_exec(argv)
        parts: list[list[str]] = json.loads(await split.stdout())
        return [files.filter(include=each) for each in parts] or [files]

    async def _wheel_of(self, pin: Pin, layer: Layer) -> dagger.Directory:
        """The wheel of a package that has none; a `LockError` if the lock has another one."""
        made = await self.built(pin, layer)
        if pin.wheel:
            found = json.loads(await self.supplies.again(made.stdout))["sha256"]
            if found != pin.wheel:
                return await self._kept_wheel(pin, found)
        return made.directory(BUILT)

    async def _kept_wheel(self, pin: Pin, found: str) -> dagger.Directory:
        """The wheel of the lock, which an earlier build on this machine made."""
        taken = await self._wheel_volume()
        taken = taken.with_exec(
            ["sh", "-s", "--", "take", KEPT, pin.wheel, BUILT], stdin=program("kept_wheel.sh")
        )
        try:
            await taken.sync()
        except dagger.ExecError as exc:
            message = lock.other_wheel(pin, found)
            raise lock.LockError(message) from exc
        return taken.directory(BUILT)

    async def keep_wheel(self, made: dagger.Container, digest: str) -> None:
        """Keep a wheel that differs from build to build, for builds with other tools or bases."""
        keeping = (await self._wheel_volume()).with_mounted_directory(BUILT, made.directory(BUILT))
        argv = ["sh", "-s", "--", "keep", KEPT, digest, BUILT]
        await keeping.with_exec(argv, stdin=program("kept_wheel.sh")).sync()

    async def _wheel_volume(self) -> dagger.Container:
        builder = await self.builder()
        return builder.with_mounted_cache(KEPT, self.volume("sources"))

    async def built(self, pin: Pin, layer: Layer) -> dagger.Container:
        """The build of a package from the source that the lock knows; stdout as that of `wheel`."""
        origin = parse_origin(pin.name, pin.url)
        if origin.is_git:
            source = origin.files(origin.ref)
            builders = layer.builders[pin.name]
            return await self.wheel(source, builders, version=pin.version)
        mounts = await self.supplies.of(f"{self.target}-{pin.name}-source", [pin.name])
        request = {"name": pin.name, "version": pin.version, "hashes": pin.hashes, "url": pin.url}
        fetched = (
            (await self.builder())
            .with_mounted_cache(KEPT, self.volume("sources"))
            .with_(mounts.add)
            .with_exec(
                [TOOLS_PYTHON, "-c", program("fetch_source.py"), _SOURCE],
                stdin=json.dumps(request),
            )
        )
        return await self.wheel(fetched.directory(_SOURCE), layer.builders[pin.name])

    async def wheel(
        self,
        source: dagger.Directory,
        builders: Sequence[Pin],
        *,
        place: str = "",
        version: str = "",
    ) -> dagger.Container:
        """Build a wheel in a container without a network; stdout is what `build_wheel.py` prints.

        The source is a project, or has the archive of one. An editable wheel is built if `place`,
        the source's directory in the image, is given; `version` is for backends that ask git.
        """
        tools = await self._build_tools(builders)
        builder = await self.builder(self.base.table.build_packages)
        if version:
            builder = builder.with_env_variable(_SCM_VERSION, version)
        argv = [PYTHON, _SOURCE, BUILT, *filter(None, [place])]
        return (
            with_modules(builder, "build_wheel", "sandbox")
            .with_mounted_directory(PREFIX, tools)
            .with_mounted_directory(_SOURCE, source)
            .with_exec([TOOLS_PYTHON, "-m", f"{PACKAGE}.build_wheel", *argv])
        )

    async def _build_tools(self, builders: Sequence[Pin]) -> dagger.Directory:
        """The prefix with what builds a wheel."""
        builder, prefix = await self.builder(), await self.prefix()
        if not builders:
            return prefix
        name = f"builders-{changes.digest(lock.requirements(builders))[7:19]}"
        projects = [pin.name for pin in builders]
        mounts = await self.supplies.of(f"{self.target}-{name}", projects)
        layer = Layer(name="builders", groups=(), pins=tuple(builders), imported=(), needs=_NONE)
        installed = await self.ids.container(
            name, lambda: self._install(layer, builder, prefix, mounts)
        )
        return installed.directory(PREFIX)

    async def wheel_files(self, wheels: Sequence[dagger.Directory]) -> dagger.Directory:
        """What an installation of wheels adds to the empty prefix."""
        builder, prefix = await self.builder(), await self.prefix()
        container = builder.with_mounted_directory(PREFIX, prefix)
        for place, files in zip(_places(wheels), wheels, strict=True):
            container = container.with_mounted_directory(place, files)
        argv = ["python3", "-c", program("install.py"), PREFIX]
        argv += [UV, "pip", "install", f"--python={PYTHON}", "--no-cache", "--no-index"]
        argv += ["--link-mode=copy", *WHEELS_ONLY, *_flags(wheels)]
        return prefix.diff(container.with_exec(argv).directory(PREFIX))

    def volume(self, name: str) -> dagger.CacheVolume:
        """The cache volume of a layer, or of another step that uses wheels."""
        return self.ids.volume(f"uv-{name}-{self.target}-v2")


def program(name: str, *, directory: Path = _PROGRAMS) -> str:
    """The source of a program that runs in a container."""
    return (directory / name).read_text()


def with_modules(container: dagger.Container, *names: str) -> dagger.Container:
    """A container that can run programs which import each other: `python -m PACKAGE.NAME`."""
    modules = dag.directory()
    for name in names:
        modules = modules.with_new_file(
            f"{PACKAGE.replace('.', '/')}/{name}.py", program(f"{name}.py")
        )
    return container.with_mounted_directory(_MODULES, modules).with_env_variable(
        "PYTHONPATH", _MODULES
    )


def _places(wheels: Sequence[dagger.Directory]) -> list[str]:
    """Where wheels are mounted."""
    return [f"{BUILT}/{number}" for number in range(len(wheels))]


def _flags(wheels: Sequence[dagger.Directory]) -> list[str]:
    """The installer's flags for wheels that were built, each known by its hash."""
    return [
        flag
        for place in _places(wheels)
        for flag in (f"--find-links={place}", f"--requirements={place}/requirements.txt")
    ]
