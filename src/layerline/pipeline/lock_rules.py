"""Rules for a new lock: what would fail in an image is refused before the lock is written."""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition, Image, roots
from layerline.pipeline.lock import LockError, Pin
from layerline.pipeline.lock_inputs import platform_of
from layerline.pipeline.partition import Partition
from layerline.pipeline.platform import Platform
from layerline.pipeline.requirement import project

# A target without CUDA refuses these, in its lock and in its images.
CUDA_PACKAGES = ("nvidia-*", "jax-cuda*")
# Distributions that own the same files; the one to prefer in a container is the first of each list.
# https://github.com/opencv/opencv-python#installation-and-usage says so of its own.
SAME_FILES = (
    (
        "opencv-python-headless",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
        "opencv-python",
    ),
    ("onnxruntime", "onnxruntime-gpu"),
    ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly"),
    ("psycopg2", "psycopg2-binary"),
    ("faiss-cpu", "faiss-gpu"),
)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_MOST_NAMED = 3


def check(text: str, parts: Partition, definition: Definition, target: str) -> None:
    """Raise a `LockError` with the ways out if an image of the target could not be built."""
    rules = _Rules(
        definition=definition, target=target, pins=lock.parse(text), platform=platform_of(text)
    )
    for name, image in sorted(definition.images_of(target).items()):
        found = {pin.name for layer in parts.of(image.groups) for pin in layer.pins}
        wrong = [*rules.same_files(found, name, image)]
        if not definition.target(target).cuda:
            wrong += rules.cuda(found, image)
        if wrong:
            raise LockError("\n".join(wrong))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """The rules for the packages that one image would have."""

    definition: Definition
    target: str
    pins: Mapping[str, Pin]
    platform: Platform

    def same_files(self, found: set[str], name: str, image: Image) -> Iterator[str]:
        """Yield what an image would have twice, and what to write instead."""
        for family in SAME_FILES:
            kept, *others = [each for each in family if each in found] or [""]
            for other in others:
                by = ", ".join(sorted(self.pins[other].required_by))
                yield (
                    f"image {name} would have {kept} and {other}"
                    f"{f', which {by} requires' if by else ''}: they own the same files; "
                    f"{self._left_out(other, image)}"
                )

    def _left_out(self, name: str, image: Image) -> str:
        for group in image.groups:
            if name in self._roots(group):
                return f"remove {name} from [groups.{group}]"
        asking = [each for each in image.groups if name in self._closure(each)]
        return f'add without = ["{name}"] to [groups.{asking[0]}]'

    def cuda(self, found: set[str], image: Image) -> Iterator[str]:
        """Yield the CUDA packages of an image for machines without, and the ways out."""
        cuda = sorted(each for each in found if _is_cuda(each))
        if not cuda:
            return
        more = len(cuda) - _MOST_NAMED
        named = ", ".join(cuda[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield f"target {self.target} has no cuda, but its lock would have {named}"
        ways: list[str] = []
        for group in image.groups:
            for text in self.definition.groups[group].requirements_for(self.target):
                if brought := self._brought(text):
                    yield f"  group {group} requires {text}, which brings {brought[0]}"
                    ways += self._ways(text, group)
        yield "use one of:"
        yield from (f"  - {way}" for way in dict.fromkeys(ways))
        yield f'  - without = ["{cuda[0]}", …] in the group, if it runs without them'
        yield f'  - cuda = "{_major(cuda)}" in [targets.{self.target}], if its images are for GPUs'

    def _brought(self, text: str) -> list[str]:
        """The CUDA packages that a requirement depends on."""
        if not self.platform.wants(text):
            return []
        found = lock.closure(self.pins, [project(text)])
        return sorted(each for each in found if _is_cuda(each))

    def _ways(self, text: str, group: str) -> Iterator[str]:
        required = Requirement(text)
        if any("cuda" in extra for extra in required.extras):
            yield f"{required.name} instead of {text} in [groups.{group}]"
        elif "torch" in lock.closure(self.pins, [project(text)]):
            version = self.pins["torch"].version.partition("+")[0]
            yield (
                f'indexes = [{{ url = "{CPU_INDEX}", packages = ["torch"] }}] '
                f"in [targets.{self.target}]"
            )
            yield f"such wheels: layerline call --wheelhouse=DIR lock --target={self.target} …"
            yield f'a pin, with either of these: "torch=={version}+cpu" in [groups.{group}]'

    def _roots(self, group: str) -> tuple[str, ...]:
        return roots(self.definition.groups[group], self.target, self.platform)

    def _closure(self, group: str) -> frozenset[str]:
        return lock.closure(self.pins, self._roots(group))


def _is_cuda(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in CUDA_PACKAGES)


def _major(names: list[str]) -> str:
    """The version of CUDA in names such as `nvidia-cublas-cu12`; the newest if none has one."""
    found = [name.rpartition("-cu")[2] for name in names if "-cu" in name]
    return next((each for each in found if each.isdigit()), "13")
