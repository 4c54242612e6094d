"""A newer base under layers that were installed on an earlier one.

The image is the one that the newer base gives, with nothing installed again: a layer's digest does
not depend on the base that it is installed on. What it depends on is refused if it is another one:
the minor version of Python with its ABI, and the C library.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagger

from layerline.pipeline.environment import Environment, program
from layerline.pipeline.layer import Layer
from layerline.pipeline.lock import Pin


class BaseMismatch(ValueError):
    """Layers cannot be put on another base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedEnvironment(Environment):
    """The environment of the newer base; layers and wheels are those of the `earlier` one."""

    earlier: Environment

    @property
    def of_layers(self) -> Environment:
        return self.earlier

    async def builder(self, packages: Sequence[str] = ()) -> dagger.Container:
        return await self.earlier.builder(packages)

    async def prefix(self) -> dagger.Directory:
        return await self.earlier.prefix()

    async def install(self, layer: Layer) -> dagger.Container:
        return await self.earlier.install(layer)

    async def layer_files(self, layer: Layer) -> dagger.Directory:
        return await self.earlier.layer_files(layer)

    async def layer_parts(self, layer: Layer, limit_mb: int | None) -> list[dagger.Directory]:
        return await self.earlier.layer_parts(layer, limit_mb)

    async def wheel(
        self,
        source: dagger.Directory,
        builders: Sequence[Pin],
        *,
        place: str = "",
        version: str = "",
    ) -> dagger.Container:
        return await self.earlier.wheel(source, builders, place=place, version=version)

    async def built(self, pin: Pin, layer: Layer) -> dagger.Container:
        return await self.earlier.built(pin, layer)

    async def keep_wheel(self, made: dagger.Container, digest: str) -> None:
        await self.earlier.keep_wheel(made, digest)

    async def wheel_files(self, wheels: Sequence[dagger.Directory]) -> dagger.Directory:
        return await self.earlier.wheel_files(wheels)

    async def prepare(self) -> None:
        """Prepare both bases; a `BaseMismatch` says why the layers do not fit the newer one."""
        await self.earlier.fetch_base()
        await Environment.prepare(self)
        check(
            await _abi(self.earlier), await _abi(self), await self.fetch_base(), target=self.target
        )


def check(was: Mapping[str, str], now: Mapping[str, str], base: str, *, target: str) -> None:
    """Raise a `BaseMismatch` if compiled packages of one base need not work on the other."""
    wrong = [
        f"{name} {now[name]}; the layers are for {was[name]}"
        for name in was
        if was[name] != now[name]
    ]
    if wrong:
        reasons = "\n  ".join(wrong)
        message = (
            f"cannot patch {target}: the base {base} has\n  {reasons}\ninstall the layers on this "
            "base instead: the same command without the earlier locks"
        )
        raise BaseMismatch(message)


async def _abi(environment: Environment) -> dict[str, str]:
    system = await environment.system()
    done = system.with_exec(["python3", "-I", "-S", "-c", program("abi.py")])
    found: dict[str, str] = json.loads(await environment.supplies.again(done.stdout))
    return found
