"""A layer: the packages of a lock that are installed together, on their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from layerline.pipeline import lock
from layerline.pipeline.lock import Pin

INSTALLER = "uv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Packages that are installed together.

    `groups` need them; `imported` are those that a group requires directly; `needs` names the other
    layers with dependencies of these packages. `from_source` names the packages without a wheel,
    and `builders` are the pins of what builds each of them.
    """

    name: str
    groups: tuple[str, ...]
    pins: tuple[Pin, ...]
    imported: tuple[str, ...]
    needs: frozenset[str]
    from_source: tuple[str, ...] = ()
    builders: Mapping[str, tuple[Pin, ...]] = field(default_factory=dict)

    @property
    def requirements(self) -> str:
        """The packages as a requirements file with hashes."""
        return lock.requirements(self.pins)

    @property
    def built(self) -> tuple[Pin, ...]:
        """The packages that are built from their source."""
        return tuple(pin for pin in self.pins if pin.name in self.from_source)

    @property
    def wheel_requirements(self) -> str:
        """The packages that have a wheel, with hashes."""
        return lock.requirements([pin for pin in self.pins if pin.name not in self.from_source])

    @property
    def build_requirements(self) -> str:
        """The build requirements with hashes; empty if nothing is built."""
        return "".join(dict.fromkeys(map(lock.requirements, self.builders.values())))
