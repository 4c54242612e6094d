"""A newer base under layers that were installed on an earlier one.

The image is the one that the newer base gives, with nothing installed again: a layer's digest does
not depend on the base that it is installed on. What it depends on is refused if it is another one:
the minor version of Python with its ABI, and the C library.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from layerline.pipeline.environment import Environment, program
from layerline.pipeline.errors import PipelineError


class BaseMismatch(PipelineError):
    """Layers cannot be put on another base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedEnvironment(Environment):
    """The environment of the newer base; layers and wheels are made in the `earlier` one."""

    earlier: Environment

    @property
    def of_layers(self) -> Environment:
        return self.earlier

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
