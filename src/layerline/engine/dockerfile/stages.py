"""Resolve the names of stages, and find the stages that a target needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.dockerfile.instructions import Copy, Instruction, Run, Stage
from layerline.engine.dockerfile.mounts import mount_stage
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a Dockerfile, their FROM with variables replaced; known by number."""

    all: tuple[Stage, ...]

    def target(self, name: str) -> int:
        """The stage that a build is to end with, the last one by default."""
        if not name:
            return len(self.all) - 1
        number = self._find_by_name(name.lower(), len(self.all))
        if number is None:
            message = f'target stage "{name}" could not be found'
            raise QueryError(message)
        return number

    def base(self, number: int) -> int | None:
        """The earlier stage that a stage begins from; None when its FROM names an image."""
        return self._find_by_name(self.all[number].base, number)

    def source(self, name: str, number: int) -> int | None:
        """The stage that COPY --from or a mount in stage `number` means; None for an image."""
        found = (
            self._find_by_index(name)
            if name.isdigit()
            else self._find_by_name(name.lower(), len(self.all))
        )
        if found is not None and found >= number:
            message = (
                f'cannot copy from stage "{name}", it needs to be defined before '
                f'current stage "{self.label(number)}"'
            )
            raise QueryError(message)
        return found

    def label(self, number: int) -> str:
        """The name of a stage in messages."""
        return self.all[number].name or f"stage-{number}"

    def images(self, number: int) -> set[tuple[str, str]]:
        """The images, with platforms, that a stage and the stages it needs take files from."""
        found: set[tuple[str, str]] = set()
        pending, seen = [number], {number}
        while pending:
            number = pending.pop()
            stage = self.all[number]
            for name, stage_number in self._needs(number):
                if stage_number is None and name != SCRATCH:
                    found.add((name, stage.platform if name == stage.base else ""))
                elif stage_number is not None and stage_number not in seen:
                    seen.add(stage_number)
                    pending.append(stage_number)
        return found

    def check_circles(self) -> None:
        """Refuse stages that need each other."""
        done: set[int] = set()
        for number in range(len(self.all)):
            self._visit(number, (), done)

    def _visit(self, number: int, path: tuple[int, ...], done: set[int]) -> None:
        if number in path:
            message = f"circular dependency detected on stage: {self.label(number)}"
            raise QueryError(message)
        if number in done:
            return
        for name in self._names(number):
            needed = (
                self._find_by_index(name)
                if name.isdigit()
                else self._find_by_name(name.lower(), None)
            )
            if needed is not None:
                self._visit(needed, (*path, number), done)
        done.add(number)

    def _needs(self, number: int) -> Iterator[tuple[str, int | None]]:
        yield self.all[number].base, self.base(number)
        for name in self._names(number):
            yield name, self.source(name, number)

    def _names(self, number: int) -> Iterator[str]:
        for instruction in self.all[number].instructions:
            yield from sources_of(instruction)

    def _find_by_name(self, name: str, before: int | None) -> int | None:
        numbers = range(len(self.all) if before is None else before)
        return next((n for n in reversed(numbers) if self.all[n].name == name != ""), None)

    def _find_by_index(self, name: str) -> int:
        if int(name) >= len(self.all):
            message = f"invalid stage index {name}"
            raise QueryError(message)
        return int(name)


def sources_of(instruction: Instruction) -> Iterator[str]:
    """The stages or images that an instruction takes files from."""
    if isinstance(instruction, Copy) and instruction.stage:
        if "$" in instruction.stage:
            message = (
                "variable expansion is not supported for --from, define a new stage "
                "with FROM using ARG from global scope as a workaround"
            )
            raise QueryError(message)
        yield instruction.stage
    elif isinstance(instruction, Run):
        yield from filter(None, map(mount_stage, instruction.mounts))
