"""The functions that users call: each image as a container to run, export or publish."""

from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, Ignore, field, function, object_type

from ci.modules import image
from ci.modules.group import GROUPS, INSTALLER
from ci.modules.lock import partition
from ci.modules.target import Target
from ci.modules.wheels import Wheels

NOT_SOURCE = [".*", "**/__pycache__", "**/*.pyc", "*.tar", "benchmarks", "data", "dist", "outputs"]


@object_type
class Layerline:
    """Machine-learning images, built and validated group by group."""

    source: Annotated[
        dagger.Directory,
        DefaultPath("/"),
        Ignore(NOT_SOURCE),
        Doc("The project's source, with its locks"),
    ] = field()
    index_url: Annotated[str, Doc("Package index to use instead of the default")] = field(
        default=""
    )
    extra_index_url: Annotated[str, Doc("Package index to use beside it")] = field(default="")
    wheelhouse: Annotated[
        dagger.Directory | None, Doc("Directory of wheels to use beside the indexes")
    ] = field(default=None)

    @function
    async def build_train_cuda(self) -> dagger.Container:
        """Build the training image for NVIDIA GPUs: PyTorch, JAX and computer vision."""
        return await self._train("train-cuda", Target.CU13)

    @function
    async def build_train(self) -> dagger.Container:
        """Build the training image for machines without a GPU."""
        return await self._train("train", Target.CPU)

    @function
    async def lock(
        self,
        target: Annotated[Target, Doc("What the wheels are for")],
        upgrade: Annotated[bool, Doc("Take the newest versions, not the locked ones")] = False,
    ) -> dagger.File:
        """Resolve all groups of a target together; save the result as locks/<target>.txt."""
        locked = await self._locked(target)
        groups = (INSTALLER, *GROUPS)
        return image.resolved(
            image.base(target, self._wheels(), locked[INSTALLER.name]),
            [requirement for group in groups for requirement in group.required(target)],
            target=target,
            wheels=self._wheels(),
            current="" if upgrade else await self._lock_text(target),
        )

    async def _train(self, title: str, target: Target) -> dagger.Container:
        locked = await self._locked(target)
        wheels = self._wheels()
        container = image.base(target, wheels, locked[INSTALLER.name])
        for group in GROUPS:
            container = image.with_group(
                container, group, target=target, wheels=wheels, requirements=locked[group.name]
            )
        container = image.with_source(image.with_directories(container), self.source)
        return image.configured(container, title=title, target=target)

    async def _locked(self, target: Target) -> dict[str, str]:
        wanted = {group.name: group.required(target) for group in (INSTALLER, *GROUPS)}
        return partition(await self._lock_text(target), wanted)

    async def _lock_text(self, target: Target) -> str:
        return await self.source.file(f"locks/{target.value}.txt").contents()

    def _wheels(self) -> Wheels:
        return Wheels(
            index_url=self.index_url,
            extra_index_url=self.extra_index_url,
            wheelhouse=self.wheelhouse,
        )
