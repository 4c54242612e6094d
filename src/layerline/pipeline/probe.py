"""Probes: programs that check a layer or an image, and the evidence that they produce.

Invariant: a container is used only after its probes have passed. Equal layers have equal evidence,
except for its seconds.
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
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.layer import Layer
from layerline.pipeline.lock_rules import CUDA_PACKAGES

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
# JAX must not load its CUDA plugin, which crashes without a GPU.
_ENVIRON = ("JAX_PLATFORMS=cpu",)
_PLACE = "/mnt/probes"
EVIDENCE_LABEL = "layerline.evidence"
_HOME = "/tmp"
Evidence = dict[str, Any]


class UnknownProbe(PipelineError):
    """A group names an unknown probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A program with its arguments: a built-in one, or a path in the source."""

    program: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return Path(self.program).stem

    @property
    def of_source(self) -> bool:
        """Whether it is a program in the project's source instead of a built-in one."""
        return self.program.endswith(".py")


def subject_of(image: str) -> str:
    """The subject of an image in evidence; distinct from a layer of the same name."""
    return f"image {image}"


def of_layer(layer: Layer, definition: Definition, target: str) -> tuple[Probe, ...]:
    """The probes of a layer: versions, libraries, imports, and those of its group."""
    names = [pin.name for pin in layer.pins]
    pins = [f"{pin.name}=={pin.version}" for pin in layer.pins]
    concerned = definition.groups.keys() & {*layer.groups, layer.name}
    excused = {each for name in concerned for each in definition.groups[name].missing}
    cuda = definition.target(target).cuda
    probes = [
        Probe(program="versions", arguments=tuple(pins)),
        Probe(program="libraries", arguments=(",".join(sorted(excused)), cuda, *names)),
    ]
    if layer.imported:
        probes.append(Probe(program="imports", arguments=layer.imported))
    group = definition.groups.get(layer.name)
    own = group.probes if group is not None else ()
    return (*probes, *(Probe(program=name, arguments=(cuda,)) for name in own))


def of_image(image: Image, definition: Definition) -> tuple[Probe, ...]:
    """The probes of an assembled image."""
    target = definition.target(image.target)
    probes = [Probe(program="owners"), Probe(program="orders")]
    if target.cuda:
        probes.append(Probe(program="single"))
        if target.architectures:
            arguments = (",".join(sorted(target.uncovered)), *target.architectures)
            probes.append(Probe(program="architectures", arguments=arguments))
    else:
        probes.append(Probe(program="absent", arguments=CUDA_PACKAGES))
    if image.commands:
        probes.append(Probe(program="commands", arguments=image.commands))
    if image.budget_mb is not None:
        probes.append(Probe(program="budget", arguments=(str(image.budget_mb),)))
    return tuple(probes)


def request(
    probes: Sequence[Probe], *, subject: str, packages: Sequence[str] = ()
) -> dict[str, Any]:
    """The input of `probes/run.py`."""
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
    compiled: bool = True,
) -> Evidence:
    """Run probes in a copy of a container; raises an error if one fails.

    `compiled` is whether its packages have their bytecode.
    """
    content = request(probes, subject=subject, packages=packages)
    answer = await (
        container.with_mounted_directory(_PLACE, programs(probes, source))
        .with_mounted_temp(_HOME)
        .with_workdir(_HOME)
        .with_user("root")
        .with_exec(
            ["env", f"HOME={_HOME}", *environ(compiled=compiled), PYTHON, f"{_PLACE}/run.py"],
            stdin=json.dumps(content),
        )
        .stdout()
    )
    found: Evidence = json.loads(answer)
    return found


def environ(*, compiled: bool) -> tuple[str, ...]:
    """The variables of probes.

    Where packages have no bytecode, what one probe has compiled the next one reads; Python looks
    for it in that place alone.
    """
    temporary = ("PYTHONDONTWRITEBYTECODE=", f"PYTHONPYCACHEPREFIX={_HOME}/bytecode")
    return (*_ENVIRON, *(() if compiled else temporary))


def programs(probes: Sequence[Probe], source: dagger.Directory) -> dagger.Directory:
    """A directory with the programs of the given probes only."""
    directory = dag.directory().with_new_file("run.py", own_program("run"))
    for probe in probes:
        name = f"{probe.name}.py"
        if probe.of_source:
            directory = directory.with_file(name, source.file(probe.program))
        else:
            directory = directory.with_new_file(name, own_program(probe.program))
    return directory


async def identities(probes: Sequence[Probe], source: dagger.Directory) -> dict[str, str]:
    """A digest of each probe's program and arguments, by name or path."""
    found = {}
    for each in probes:
        text = (
            await source.file(each.program).contents()
            if each.of_source
            else own_program(each.program)
        )
        command = json.dumps([text, each.arguments])
        found[f"probe {each.program}"] = changes.digest(command)
    return found


def own_program(name: str) -> str:
    """The source of a built-in probe, or of `run`, which runs them."""
    if name == "run":
        return (_PROGRAMS / "run.py").read_text()
    if name not in BUILT_IN:
        message = (
            f"unknown probe {name!r}: use one of {', '.join(sorted(BUILT_IN))}, or the path of "
            "a program in the source that ends in .py"
        )
        raise UnknownProbe(message)
    return (_PROGRAMS / f"{BUILT_IN[name]}.py").read_text()
