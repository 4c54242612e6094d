"""A build: the stages that the target needs, each built once, and the container of the target."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from layerline.engine.api.objects import Container
from layerline.engine.api.resolvers.container_image import from_
from layerline.engine.api.tree_access import tree_of
from layerline.engine.dockerfile import instructions as i
from layerline.engine.dockerfile.arguments import Arguments
from layerline.engine.dockerfile.build_context import BuildContext, read_dockerfile
from layerline.engine.dockerfile.configuration import (
    apply_to_image,
    finish_container,
    workdir_after,
)
from layerline.engine.dockerfile.copy_instruction import Copier
from layerline.engine.dockerfile.parser import parse, parse_trigger
from layerline.engine.dockerfile.run_instruction import Runner
from layerline.engine.dockerfile.stages import SCRATCH, Stages
from layerline.engine.dockerfile.state import State
from layerline.engine.image.config import ImageConfig
from layerline.engine.image.platform import Platform
from layerline.engine.solve import ops
from layerline.errors import LayerlineError, NotSupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.api.objects import Directory, Secret
    from layerline.engine.api.session import Call
    from layerline.engine.solve.ops import Op

_FRONTENDS = ("dockerfile", "dockerfile-upstream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The arguments of a build. `secrets` are by the ids that the Dockerfile uses."""

    directory: Directory
    dockerfile: str = "Dockerfile"
    platform: Platform = field(default_factory=Platform.of_host)
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    init: bool = True


async def build(call: Call, request: Request) -> Container:
    """The container of the target stage; its steps are lazy ops."""
    tree = await tree_of(call, request.directory.tree)
    dockerfile = parse(read_dockerfile(tree, request.directory.path, request.dockerfile))
    _check_frontend(dockerfile.syntax)
    last = request.target or dockerfile.stages[-1].name
    arguments = Arguments.of(dockerfile, request.arguments, request.platform, last)
    stages = Stages(tuple(arguments.begin(s, dockerfile.escape) for s in dockerfile.stages))
    stages.check_circles()
    target = stages.target(request.target)
    building = _Building(
        call=call,
        request=request,
        stages=stages,
        arguments=arguments,
        escape=dockerfile.escape,
        context=await BuildContext.of(call, request.directory, request.dockerfile),
    )
    await building.fetch_images(target)
    return finish_container(await building.stage(target), call)


def _check_frontend(syntax: str) -> None:
    """Refuse another language than Dockerfile's, which a frontend image would have to read."""
    name = syntax.partition("@")[0].partition(":")[0].removeprefix("docker.io/")
    account, _, frontend = name.partition("/")
    if syntax and (account not in ("docker", "moby") or frontend not in _FRONTENDS):
        what = f"the Dockerfile frontend {syntax}"
        raise NotSupported(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Building:
    call: Call
    request: Request
    stages: Stages
    arguments: Arguments
    escape: str
    context: BuildContext
    images: dict[tuple[str, str], Container] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)

    async def fetch_images(self, target: int) -> None:
        """Resolve the images that are needed, all at once; the first that fails is the error."""
        images = sorted(self.stages.images(target))
        failures: list[LayerlineError] = []

        async def one(name: str, platform: str) -> None:
            try:
                await self.image(name, platform)
            except LayerlineError as exc:
                failures.append(exc)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for name, platform in images:
                group.start_soon(one, name, platform)
        if failures:
            raise failures[0]

    async def image(self, name: str, platform: str = "") -> Container:
        """An image for a platform, the target's by default."""
        known = self.images.get((name, platform))
        if known is None:
            chosen = Platform.parse(platform) if platform else self.request.platform
            empty = Container(config=ImageConfig(platform=chosen))
            known = empty if name == SCRATCH else await from_(empty, self.call, address=name)
            self.images[name, platform] = known
        return known

    async def stage(self, number: int) -> State:
        """A stage, built."""
        state = self.states.get(number)
        if state is None:
            state, triggers = await self._begin_stage(number)
            instructions = (*map(parse_trigger, triggers), *self.stages.all[number].instructions)
            for instruction in instructions:
                state = await self._step(state, instruction, number)
            self.states[number] = state
        return state

    async def _begin_stage(self, number: int) -> tuple[State, tuple[str, ...]]:
        """A stage before its first instruction, and the ONBUILD triggers of what it begins from."""
        base = self.stages.base(number)
        if base is not None:
            before = await self.stage(base)
            return before.next_stage(), before.image.onbuild
        stage = self.stages.all[number]
        container = await self.image(stage.base, stage.platform)
        state = State.of_image(container, container.config, self.escape)
        return state, container.config.onbuild

    async def _step(self, state: State, instruction: i.Instruction, number: int) -> State:
        match instruction:
            case i.Arg():
                after = self.arguments.declare(instruction, state.variables, self.escape)
                return replace(state, variables=after)
            case i.Run():
                return await self._runner(number).apply(state, instruction)
            case i.Copy():
                return await self._copier(number).copy(state, instruction)
            case i.Workdir():
                return _change_workdir(state, instruction)
            case _:
                return apply_to_image(state, instruction)

    def _runner(self, number: int) -> Runner:
        async def files(source: str, path: str) -> Op:
            if source:
                return await self._files_of(source, number)
            return await self.context.part([f"/{path.strip('/')}"])

        return Runner(
            call=self.call,
            secrets=self.request.secrets,
            proxies=self.arguments.proxies(),
            files=files,
            init=self.request.init,
        )

    def _copier(self, number: int) -> Copier:
        async def files(source: str, patterns: list[str]) -> Op:
            if source:
                return await self._files_of(source, number)
            return await self.context.part(patterns)

        return Copier(call=self.call, files=files)

    async def _files_of(self, source: str, number: int) -> Op:
        """The files of a stage or of an image."""
        stage = self.stages.source(source, number)
        if stage is None:
            container = await self.image(source)
        else:
            container = (await self.stage(stage)).container
        return container.rootfs or ops.Scratch()


def _change_workdir(state: State, instruction: i.Workdir) -> State:
    """WORKDIR: a missing directory is created, owned by the user."""
    path = workdir_after(state, state.expand(instruction.path))
    state = state.with_image(replace(state.image, workdir=path))
    if path == "/":
        return state
    rootfs = ops.DockerfileCopy(
        base=state.container.rootfs or ops.Scratch(),
        destination=f"{path}/",
        source=ops.Scratch(),
        patterns=("/",),
        owner=state.image.user,
    )
    return replace(state, container=replace(state.container, rootfs=rootfs, image_ref=""))
