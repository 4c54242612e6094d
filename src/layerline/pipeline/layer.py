"""The partition of a lock into layers that are built independently of each other.

A package belongs to the group that claims it or alone asks for it by name; what only a group's
packages ask for comes along with them; what several groups' packages ask for lies in a layer that
exactly the images which need it share.

Invariant: every locked package that an image needs is in exactly one layer, and nothing depends on
the order in which groups and images are written.
"""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition, Group, Image, builders, roots
from layerline.pipeline.lock import LockError, Pin

INSTALLER = "uv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Packages that are installed together.

    `groups` want them; `imported` are those that a group asks for by name; `needs` names the other
    layers that hold what these packages ask for. `from_source` names those of the packages that
    have no wheel, and `builders` are the pins of what makes one.
    """

    name: str
    groups: tuple[str, ...]
    pins: tuple[Pin, ...]
    imported: tuple[str, ...]
    needs: frozenset[str]
    from_source: tuple[str, ...] = ()
    builders: tuple[Pin, ...] = ()

    @property
    def requirements(self) -> str:
        """What is installed, with hashes."""
        return lock.requirements(self.pins)

    @property
    def build_requirements(self) -> str:
        """What its wheels are built with, with hashes; empty where none is built."""
        return lock.requirements(self.builders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The layers of a target by name, and the locked installer, which is in none of them."""

    layers: Mapping[str, Layer]
    installer: str

    def of(self, groups: Iterable[str]) -> tuple[Layer, ...]:
        """The layers that groups need, in the one order in which images have them."""
        wanted = set(groups)
        return tuple(
            layer for _, layer in sorted(self.layers.items()) if wanted.intersection(layer.groups)
        )

    def below(self, layer: Layer) -> tuple[Layer, ...]:
        """The layers that a layer needs, in the same order."""
        return tuple(self.layers[name] for name in sorted(layer.needs))

    def foundations(self, groups: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For each layer that groups need, those of them that it stands on.

        Layers that need each other stand on neither. What groups do not need is left out, though a
        layer may need it for a package that only others use.
        """
        layers = self.of(groups)
        return {
            layer.name: tuple(
                each.name
                for each in layers
                if each.name in layer.needs and layer.name not in each.needs
            )
            for layer in layers
        }


def partition(text: str, definition: Definition, target: str) -> Partition:
    """Cut a target's lock into layers."""
    pins = lock.parse(text)
    groups = definition.groups_of(target)
    installer = lock.closure(pins, [INSTALLER])
    tools = lock.closure(pins, builders(groups.values()))
    named = {name: frozenset(roots(group, target)) for name, group in groups.items()}
    wanted = {name: lock.closure(pins, found) for name, found in named.items()}
    if left := sorted(pins.keys() - installer.union(tools, *wanted.values())):
        message = f"no group asks for {', '.join(left)}; make the lock anew with `lock`"
        raise LockError(message)
    owners = _owners(pins, named, _claimed(wanted, groups))
    for name in frozenset().union(*wanted.values()) - owners.keys():
        owners[name] = _shared(name, wanted, definition.images_of(target))
    layers = {
        owner: _layer(owner, owners=owners, pins=pins, wanted=wanted, named=named)
        for owner in sorted(set(owners.values()))
    }
    layers = {name: _with_builders(layer, pins, groups) for name, layer in layers.items()}
    installed = lock.requirements([pins[name] for name in installer])
    return Partition(layers=layers, installer=installed)


def _claimed(wanted: Mapping[str, frozenset[str]], groups: Mapping[str, Group]) -> dict[str, str]:
    """Who claims which package; of several patterns the longest one counts."""
    found = {
        package: max(
            (len(pattern), pattern, name)
            for name, group in groups.items()
            for pattern in ("", *group.claims)
            if not pattern or fnmatch.fnmatchcase(package, pattern)
        )
        for package in frozenset().union(*wanted.values())
    }
    return {package: name for package, (length, _, name) in found.items() if length}


def _owners(
    pins: Mapping[str, Pin], named: Mapping[str, frozenset[str]], claimed: Mapping[str, str]
) -> dict[str, str]:
    """The packages that belong to one group; what only one group reaches comes along."""
    namers: dict[str, list[str]] = {}
    for group, packages in named.items():
        for package in packages - claimed.keys():
            namers.setdefault(package, []).append(group)
    owners = {**claimed, **{name: them[0] for name, them in namers.items() if len(them) == 1}}
    reached: dict[str, list[str]] = {}
    for group, packages in named.items():
        own = {package for package, owner in owners.items() if owner == group}
        fixed = {package for package in owners.keys() | namers.keys() if package not in own}
        for package in lock.closure(pins, own | packages, stop=fixed) - owners.keys():
            reached.setdefault(package, []).append(group)
    alone = {name: by[0] for name, by in reached.items() if len(by) == 1 and name not in namers}
    return {**owners, **alone}


def _shared(package: str, wanted: Mapping[str, frozenset[str]], images: Mapping[str, Image]) -> str:
    """The layer of the images that need a package."""
    sharing = [
        name
        for name, image in sorted(images.items())
        if any(package in wanted[group] for group in image.groups)
    ]
    return "shared" if len(sharing) == len(images) else "+".join(["shared", *sharing])


def _layer(
    name: str,
    *,
    owners: Mapping[str, str],
    pins: Mapping[str, Pin],
    wanted: Mapping[str, frozenset[str]],
    named: Mapping[str, frozenset[str]],
) -> Layer:
    own = {package for package, owner in owners.items() if owner == name}
    needed = {owners[package] for package in lock.closure(pins, own) if package in owners}
    return Layer(
        name=name,
        groups=tuple(sorted(group for group, packages in wanted.items() if own & packages)),
        pins=tuple(pins[package] for package in sorted(own)),
        imported=tuple(sorted(own & frozenset().union(*named.values()))),
        needs=frozenset(needed - {name}),
    )


def _with_builders(layer: Layer, pins: Mapping[str, Pin], groups: Mapping[str, Group]) -> Layer:
    """A layer with what builds those of its packages that have no wheel."""
    built_by = {name: by for group in groups.values() for name, by in group.from_source.items()}
    own = tuple(pin.name for pin in layer.pins if pin.name in built_by)
    tools = lock.closure(pins, {tool for name in own for tool in built_by[name]})
    return replace(layer, from_source=own, builders=tuple(pins[name] for name in sorted(tools)))
