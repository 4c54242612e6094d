"""Partitions a lock into layers that are built independently of each other.

Each package is assigned by the first rule that applies:

1. a group claims it with a pattern: that group's layer;
2. exactly one group requires it directly: that group's layer;
3. exactly one group depends on it, through its own packages: that group's layer;
4. otherwise: a layer shared by exactly the images that need it.

For example, with the groups `core = ["numpy"]`, `jax = ["jax"]`, `pytorch = ["torch"]` and `cuda`,
which claims `nvidia-*`, an image `dev` with core, jax and pytorch, and an image `small` with core
and jax:

    nvidia-cublas      cuda        claimed, though both jax and torch depend on it (1)
    numpy              core        required by core; jax only depends on it (2)
    jax                jax         required by jax (2)
    torch              pytorch     required by pytorch (2)
    sympy              pytorch     only torch depends on it (3)
    typing-extensions  shared      jax and torch depend on it, and all images need it (4)

A package that two groups of `dev` depend on but that `small` does not need is in `shared+dev`.

Invariant: every locked package that an image needs is in exactly one layer, whatever the order in
which groups and images are written.
"""

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from layerline.pipeline import builder_pins, lock, lock_inputs
from layerline.pipeline.builder_pins import BuilderPins
from layerline.pipeline.definition import (
    Definition,
    Group,
    Image,
    from_source,
    look_up,
    roots,
)
from layerline.pipeline.layer import INSTALLER, Layer
from layerline.pipeline.layer_order import fixed_projects, in_order
from layerline.pipeline.lock import LockError, Pin
from layerline.pipeline.requirement import project


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The layers of a target by name, lowest first, and the locked installer, which is in none.

    `project_builders` are what builds each project of the repository, by its directory.
    """

    layers: Mapping[str, Layer]
    installer: str
    project_builders: Mapping[str, tuple[Pin, ...]] = field(default_factory=dict)

    def of(self, groups: Iterable[str]) -> tuple[Layer, ...]:
        """The layers that groups need, in the one order in which images have them."""
        wanted = set(groups)
        return tuple(layer for layer in self.layers.values() if wanted.intersection(layer.groups))

    def with_needed(self, layer: Layer) -> tuple[Layer, ...]:
        """A layer and those that it needs, in the same order."""
        names = {layer.name, *layer.needs}
        return tuple(each for name, each in self.layers.items() if name in names)

    def layer(self, name: str) -> Layer:
        """The layer of this name; a `DefinitionError` names the known ones."""
        return look_up(self.layers, name, "layer")

    def foundations(self, groups: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For each layer that groups need, those of them that it depends on.

        Layers that need each other are left out of both. So are layers that these groups do not
        need, though a layer may need one for a package that only other groups use.
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
    """Partition a target's lock into layers; the rules are those of the module's docstring.

    A `LockError` says where the lock does not fit the definition.
    """
    lock_inputs.check(text, definition, target)
    pins, platform = lock.parse(text), lock_inputs.platform_of(text)
    groups = definition.groups_of(target)
    installer = lock.closure(pins, [INSTALLER])
    direct = {name: frozenset(roots(group, target, platform)) for name, group in groups.items()}
    needed = {name: lock.closure(pins, packages) for name, packages in direct.items()}
    builders = _builders(text, definition, target)
    tools = {
        pin.name
        for by in (builders.packages, builders.projects)
        for them in by.values()
        for pin in them
    }
    _check_complete(pins, installer.union(tools, *needed.values()))

    layer_of = _claims(needed, groups)
    claimed = frozenset(layer_of)
    layer_of |= _direct_requirements(direct, layer_of)
    layer_of |= _private_dependencies(pins, direct, layer_of)
    layer_of |= _shared_packages(needed, definition.images_of(target), layer_of)

    layer_of = {name: layer for name, layer in layer_of.items() if not pins[name].is_directory}
    layers = {
        name: _layer(name, layer_of=layer_of, pins=pins, needed=needed, direct=direct)
        for name in set(layer_of.values())
    }
    wanted = [text for group in groups.values() for text in group.requirements_for(target)]
    fixed = fixed_projects(filter(platform.wants, wanted))
    layers = in_order(layers, claimed=claimed, fixed=fixed)
    return Partition(
        layers={name: _with_builders(layer, builders.packages) for name, layer in layers.items()},
        installer=lock.requirements([pins[name] for name in installer]),
        project_builders=builders.projects,
    )


def _builders(text: str, definition: Definition, target: str) -> BuilderPins:
    """What builds packages and projects.

    Locks from before had it among the pins, in the one resolution of all.
    """
    pins, platform = lock.parse(text), lock_inputs.platform_of(text)
    own = builder_pins.parse(text)

    def with_closure(known: Mapping[str, Pin], names: Collection[str]) -> tuple[Pin, ...]:
        return tuple(known[name] for name in sorted(lock.closure(known, names)))

    given = from_source(definition.groups_of(target).values())
    packages = {}
    for name, by in {**lock_inputs.recorded_sources(text), **given}.items():
        if name in own.packages:
            packages[name] = own.packages[name]
            lock.closure({pin.name: pin for pin in packages[name]}, given.get(name, ()))
        else:
            packages[name] = with_closure(pins, by)
    projects = {
        path: own.projects[path]
        if path in own.projects
        else with_closure(pins, {project(each) for each in by if platform.wants(each)})
        for path, by in lock_inputs.recorded_projects(text).items()
    }
    return BuilderPins(packages=packages, projects=projects)


def _check_complete(pins: Mapping[str, Pin], used: frozenset[str]) -> None:
    if unused := sorted(pins.keys() - used):
        message = (
            f"no group requires {', '.join(unused)}, which the lock has: "
            "regenerate it with 'layerline call lock'"
        )
        raise LockError(message)


def _claims(needed: Mapping[str, frozenset[str]], groups: Mapping[str, Group]) -> dict[str, str]:
    """Rule 1: the group that claims each package; the longest of several patterns wins."""
    found = {
        package: max(
            (len(pattern), pattern, name)
            for name, group in groups.items()
            for pattern in ("", *group.claims)
            if not pattern or fnmatch.fnmatchcase(package, pattern)
        )
        for package in frozenset().union(*needed.values())
    }
    return {package: name for package, (length, _, name) in found.items() if length}


def _direct_requirements(
    direct: Mapping[str, frozenset[str]], layer_of: Mapping[str, str]
) -> dict[str, str]:
    """Rule 2: packages that exactly one group requires directly."""
    return _only_values(_groups_by_package(direct, layer_of))


def _private_dependencies(
    pins: Mapping[str, Pin], direct: Mapping[str, frozenset[str]], layer_of: Mapping[str, str]
) -> dict[str, str]:
    """Rule 3: packages that exactly one group depends on.

    A group's dependencies are followed through its own packages only: not through packages of
    another group's layer, nor through those that several groups require directly.
    """
    assigned = {*layer_of, *frozenset().union(*direct.values())}
    reached = {}
    for group, packages in direct.items():
        own = {package for package, owner in layer_of.items() if owner == group}
        reached[group] = lock.closure(pins, own | packages, stop=assigned - own)
    return _only_values(_groups_by_package(reached, assigned))


def _shared_packages(
    needed: Mapping[str, frozenset[str]], images: Mapping[str, Image], layer_of: Mapping[str, str]
) -> dict[str, str]:
    """Rule 4: all other packages, by the images that need them."""
    return {
        package: _shared_layer(package, needed, images)
        for package in frozenset().union(*needed.values()) - layer_of.keys()
    }


def _shared_layer(
    package: str, needed: Mapping[str, frozenset[str]], images: Mapping[str, Image]
) -> str:
    """The name of the layer of a shared package: `shared`, or `shared+IMAGE+...`."""
    sharing = [
        name
        for name, image in sorted(images.items())
        if any(package in needed[group] for group in image.groups)
    ]
    return "shared" if len(sharing) == len(images) else "+".join(["shared", *sharing])


def _groups_by_package(
    packages_of: Mapping[str, frozenset[str]], without: Collection[str]
) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for group, packages in packages_of.items():
        for package in packages.difference(without):
            groups.setdefault(package, []).append(group)
    return groups


def _only_values(groups: Mapping[str, list[str]]) -> dict[str, str]:
    """The packages with exactly one group, and that group."""
    return {package: names[0] for package, names in groups.items() if len(names) == 1}


def _layer(
    name: str,
    *,
    layer_of: Mapping[str, str],
    pins: Mapping[str, Pin],
    needed: Mapping[str, frozenset[str]],
    direct: Mapping[str, frozenset[str]],
) -> Layer:
    own = {package for package, layer in layer_of.items() if layer == name}
    below = {layer_of[package] for package in lock.closure(pins, own) if package in layer_of}
    return Layer(
        name=name,
        groups=tuple(sorted(group for group, packages in needed.items() if own & packages)),
        pins=tuple(pins[package] for package in sorted(own)),
        imported=tuple(sorted(own & frozenset().union(*direct.values()))),
        needs=frozenset(below - {name}),
    )


def _with_builders(layer: Layer, builders: Mapping[str, tuple[Pin, ...]]) -> Layer:
    """Add the build requirements of those packages that have no wheel."""
    own = tuple(pin.name for pin in layer.pins if pin.name in builders)
    return replace(layer, from_source=own, builders={name: builders[name] for name in own})
