"""Probes: programs that gate a layer or an image, and the evidence that they give.

Invariant: a container is given on only after its probes have succeeded. What the evidence says is
the same for the same layers; only its seconds are of one run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dagger
from dagger import dag

from layerline.pipeline import changes
from layerline.pipeline.definition import Definition, Image
from layerline.pipeline.environment import PYTHON
from layerline.pipeline.layer import Layer

_PROGRAMS = Path(__file__).parent / "probes"
# The names that users write and evidence shows, and the programs behind them.
BUILT_IN = MappingProxyType(
    {
        "absent": "forbidden_packages",
        "api": "api",
        "architectures": "architectures",
        "budget": "budget",
        "commands": "commands",
        "core": "numerics",
        "cv": "cv",
        "imports": "imports",
        "jax": "jax",
        "jupyter": "jupyter",
        "libraries": "libraries",
        "orders": "import_order",
        "owners": "file_conflicts",
        "pytorch": "pytorch",
        "single": "duplicate_cuda",
        "versions": "versions",
    }
)
BYTECODE = "/mnt/bytecode"
BYTECODE_VOLUME = "bytecode-v2"
# JAX is kept off its CUDA plugin, which crashes where there is no GPU.
ENVIRON = ("JAX_PLATFORMS=cpu", f"BYTECODE={BYTECODE}")
_PLACE = "/mnt/probes"
_HOME = "/tmp"
Evidence = dict[str, Any]


class UnknownProbe(ValueError):
    """A group names a probe that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A program with its arguments: a built-in one, or a path in the source."""

    program: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the evidence."""
        return Path(self.program).stem

    @property
    def of_source(self) -> bool:
        """Whether it is the user's own."""
        return self.program.endswith(".py")


def subject_of(image: str) -> str:
    """How evidence names an image: a layer may have the same name."""
    return f"image {image}"


def of_layer(layer: Layer, definition: Definition, target: str) -> tuple[Probe, ...]:
    """What gates a layer: versions, libraries, imports, and what its group wants besides."""
    names = [pin.name for pin in layer.pins]
    pins = [f"{pin.name}=={pin.version}" for pin in layer.pins]
    concerned = definition.groups.keys() & {*layer.groups, layer.name}
    excused = {each for name in concerned for each in definition.groups[name].missing}
    probes = [
        Probe(program="versions", arguments=tuple(pins)),
        Probe(program="libraries", arguments=(",".join(sorted(excused)), *names)),
    ]
    if layer.imported:
        probes.append(Probe(program="imports", arguments=layer.imported))
    group = definition.groups.get(layer.name)
    own = group.probes if group is not None else ()
    cuda = definition.target(target).cuda
    return (*probes, *(Probe(program=name, arguments=(cuda,)) for name in own))


def of_image(image: Image, definition: Definition) -> tuple[Probe, ...]:
    """What gates an image as a whole."""
    target = definition.target(image.target)
    probes = [Probe(program="owners"), Probe(program="orders")]
    if target.cuda:
        probes.append(Probe(program="single"))
        if target.architectures:
            probes.append(Probe(program="architectures", arguments=target.architectures))
    else:
        probes.append(Probe(program="absent", arguments=("nvidia-*", "jax-cuda*")))
    if image.commands:
        probes.append(Probe(program="commands", arguments=image.commands))
    if image.budget_mb is not None:
        probes.append(Probe(program="budget", arguments=(str(image.budget_mb),)))
    return tuple(probes)


def question(
    probes: Sequence[Probe], *, subject: str, packages: Sequence[str] = ()
) -> dict[str, Any]:
    """What the program that runs the probes is asked."""
    return {
        "subject": subject,
        "packages": list(packages),
        "probes": [[probe.name, list(probe.arguments)] for probe in probes],
    }


async def evidence(
    container: dagger.Container,
    probes: Sequence[Probe],
    *,
    subject: str,
    source: dagger.Directory,
    packages: Sequence[str] = (),
) -> Evidence:
    """Run probes in a container that is not changed by it; a failing one is an error."""
    asked = question(probes, subject=subject, packages=packages)
    answer = await (
        container.with_mounted_directory(_PLACE, programs(probes, source))
        .with_mounted_cache(BYTECODE, dag.cache_volume(BYTECODE_VOLUME))
        .with_mounted_temp(_HOME)
        .with_workdir(_HOME)
        .with_user("root")
        .with_exec(
            ["env", f"HOME={_HOME}", *ENVIRON, PYTHON, f"{_PLACE}/run.py"],
            stdin=json.dumps(asked),
        )
        .stdout()
    )
    found: Evidence = json.loads(answer)
    return found


def programs(probes: Sequence[Probe], source: dagger.Directory) -> dagger.Directory:
    """The programs of probes side by side, without the ones that are not run."""
    directory = dag.directory().with_new_file("run.py", own_program("run"))
    for probe in probes:
        name = f"{probe.name}.py"
        if probe.of_source:
            directory = directory.with_file(name, source.file(probe.program))
        else:
            directory = directory.with_new_file(name, own_program(probe.program))
    return directory


async def identities(probes: Sequence[Probe], source: dagger.Directory) -> dict[str, str]:
    """What each probe runs and with which arguments; the user's own are named by their path."""
    found = {}
    for each in probes:
        text = (
            await source.file(each.program).contents()
            if each.of_source
            else own_program(each.program)
        )
        asked = json.dumps([text, each.arguments])
        found[f"probe {each.program}"] = changes.digest(asked)
    return found


def own_program(name: str) -> str:
    """The text of one of Layerline's own probes, or of what runs them."""
    if name == "run":
        return (_PROGRAMS / "run.py").read_text()
    if name not in BUILT_IN:
        message = (
            f"unknown probe {name!r}: use one of {', '.join(sorted(BUILT_IN))}, or the path of "
            "a program in the source that ends in .py"
        )
        raise UnknownProbe(message)
    return (_PROGRAMS / f"{BUILT_IN[name]}.py").read_text()
