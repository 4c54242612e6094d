"""The bytecode of layers, compiled wheel by wheel: a changed package compiles itself alone.

A step has the Python files of one wheel, or of a few small ones, and runs nothing of them. So what
it makes is known by these files, the base with its interpreter, and the place of the environment.
No cache volume takes part: nothing else can write what an image gets.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import dagger
from dagger import dag

from layerline.pipeline import changes
from layerline.pipeline.base_system import PREFIX
from layerline.pipeline.environment import PYTHON, Environment, program
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.layer import Layer
from layerline.pipeline.source import escape

PROGRAM = "bytecode.py"
LAYER_FILES = "/mnt/layer"
COMPILED = "/mnt/compiled"
# A container takes as long as compiling 0.6 MB of source: docs/decisions/0006-bytecode.md.
OWN_STEP = 2_000_000  # bytes
TOGETHER = 16
# Engines know a directory by its content up to a size; this one of 4096 entries.
MOST_FILES = 2000
# What was compiled before is known by then.
CACHED_SECONDS = 1.0
MEGABYTE = 10**6
BLOCK = 512
T = TypeVar("T")
# The numbers of `files`, `bytes` and `seconds`, and the files `left_out` that do not compile.
Compiled = dict[str, Any]
# The paths with the Python files of each wheel, with the numbers of these files and bytes.
Modules = Mapping[str, Mapping[str, Sequence[int]]]


class BytecodeTooLarge(PipelineError):
    """Bytecode that is compiled together does not fit into a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Wheels that are compiled together; `paths` have their Python files, and no others'."""

    wheels: tuple[str, ...]
    paths: tuple[str, ...]


def portions(modules: Modules) -> Iterator[Portion]:
    """Divide a layer: a step for each large wheel, or several; small ones by their names.

    So neither a new version nor a new wheel moves others to another step, but where the number of
    small ones passes a power of two.
    """
    large = {name for name, paths in modules.items() if _size(paths) >= OWN_STEP}
    small: dict[int, list[str]] = {}
    steps = 1 << (len(modules.keys() - large) // TOGETHER).bit_length()
    for name, paths in sorted(modules.items()):
        if name in large:
            for part in _parts(paths):
                yield Portion(wheels=(name,), paths=tuple(part))
        else:
            place = hashlib.sha256(name.encode()).digest()[0] % steps
            small.setdefault(place, []).append(name)
    for _, names in sorted(small.items()):
        found = sorted(path for name in names for path in modules[name])
        yield Portion(wheels=tuple(names), paths=tuple(found))


def _size(paths: Mapping[str, Sequence[int]]) -> int:
    return sum(size for _, size in paths.values())


def _parts(paths: Mapping[str, Sequence[int]]) -> list[list[str]]:
    """The paths of a wheel, in parts of no more files than an engine looks at."""
    parts: list[list[str]] = [[]]
    filled = 0
    for path, (count, _) in sorted(paths.items()):
        if parts[-1] and filled + count > MOST_FILES:
            parts.append([])
            filled = 0
        parts[-1].append(path)
        filled += count
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytecode:
    """The bytecode of the layers of one target."""

    environment: Environment

    @property
    def identity(self) -> str:
        """The digest of the program that compiles."""
        return changes.digest(program(PROGRAM))

    async def compile(self, layer: Layer, meanwhile: Callable[[], Awaitable[None]]) -> Compiled:
        """Compile a layer; `meanwhile` is for what comes next, unless it is compiled already."""
        compiled = anyio.Event()

        async def prepare() -> None:
            with anyio.move_on_after(CACHED_SECONDS):
                await compiled.wait()
                return
            await meanwhile()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(prepare)
                found = await self._compile(layer)
                compiled.set()
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        return found

    async def _compile(self, layer: Layer) -> Compiled:
        found = await self._compiled(await self._steps(layer))
        return {
            "files": sum(each["files"] for each in found),
            "bytes": sum(each["bytes"] for each in found),
            "seconds": round(sum(each["seconds"] for each in found), 3),
            "left_out": sorted(path for each in found for path in each["left_out"]),
        }

    async def files(self, layer: Layer, limit_mb: int | None = None) -> list[dagger.Directory]:
        """The bytecode of a layer's files at their places, in parts that are within the limit.

        A layer without modules has none: some have only libraries.
        """
        steps = await self._steps(layer)
        parts = [steps] if steps else []
        if limit_mb is not None:
            sizes = [_weigh(each) for each in await self._compiled(steps)]
            parts = split(steps, sizes, limit_mb, layer=layer.name)
        ids = self.environment.ids
        return [
            await ids.directory(f"bytecode {layer.name} {limit_mb} {place}", partial(_merge, part))
            for place, part in enumerate(parts)
        ]

    async def _compiled(self, steps: Sequence[dagger.Container]) -> list[Compiled]:
        """What each step says, in their order; they run in parallel."""
        said = [""] * len(steps)

        async def run(place: int, step: dagger.Container) -> None:
            said[place] = await step.stdout()

        try:
            async with anyio.create_task_group() as group:
                for place, step in enumerate(steps):
                    group.start_soon(run, place, step)
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        return [json.loads(each) for each in said]

    async def _steps(self, layer: Layer) -> list[dagger.Container]:
        """The steps that compile a layer; it is installed for that, as its files decide."""
        installed = json.loads(await self.environment.installed(layer))
        system = await self.environment.system()
        files = await self.environment.layer_files(layer)
        ids = self.environment.ids
        empty = await ids.directory("empty", dag.directory)
        return [
            await ids.container(
                f"compiled {layer.name} {portion.paths[0]}",
                partial(_compile, system, files, portion, empty),
            )
            for portion in portions(installed["modules"])
        ]


def _compile(
    system: dagger.Container, files: dagger.Directory, portion: Portion, empty: dagger.Directory
) -> dagger.Container:
    sources = files.filter(
        include=[escape(path) for path in portion.paths], exclude=["**", "!**/*.py"]
    )
    # -I and -S: a package's .pth files would be run otherwise.
    command = [PYTHON, "-I", "-S", "-c", program(PROGRAM), LAYER_FILES, COMPILED, PREFIX]
    return (
        system.with_mounted_directory(LAYER_FILES, sources, read_only=True)
        .with_directory(COMPILED, empty)
        .with_exec(command)
    )


def _merge(steps: Sequence[dagger.Container]) -> dagger.Directory:
    found = dag.directory()
    for step in steps:
        found = found.with_directory("/", step.directory(COMPILED))
    return found


def _weigh(compiled: Compiled) -> int:
    """The bytes in a tar at most: a file fills its last block and has one before it."""
    return int(compiled["bytes"] + 2 * BLOCK * compiled["files"])


def split(steps: Sequence[T], sizes: Sequence[int], limit_mb: int, *, layer: str) -> list[list[T]]:
    """Parts of steps, each ending where the next step would make it larger than the limit."""
    parts: list[list[T]] = []
    filled = 0
    for step, size in zip(steps, sizes, strict=True):
        if size > limit_mb * MEGABYTE:
            message = (
                f"the bytecode of layer {layer} has a part of {size} bytes, more than max_layer_mb "
                f"= {limit_mb}: raise it, or leave bytecode out with bytecode = false"
            )
            raise BytecodeTooLarge(message)
        if not parts or filled + size > limit_mb * MEGABYTE:
            parts.append([])
            filled = 0
        parts[-1].append(step)
        filled += size
    return parts
