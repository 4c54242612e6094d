"""A `layerline.toml` for a repository, from what it has: groups, target and image.

Invariant: every guess is reported, with its reason, and what is not taken over is a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.cli.scaffold.dockerfiles import adopt
from layerline.cli.scaffold.program import find_program, import_paths
from layerline.cli.scaffold.project_file import is_installed
from layerline.cli.scaffold.python_version import DISTRIBUTIONS, distribution
from layerline.cli.scaffold.requirements import project
from layerline.cli.scaffold.tables import comment, table
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from layerline.cli.scaffold.requirements import Requirements
    from layerline.doctor.dockerfile import Dockerfile

BASE = next(iter(DISTRIBUTIONS))
PACKAGES = ("ca-certificates", "libgomp1", "python3", "python3-venv", "tini")
# What changes together; other packages are the group `core`.
SUBJECTS = {
    "pytorch": ("torch", "torchvision", "torchaudio", "triton"),
    "jax": ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "equinox"),
    "cv": ("opencv-python", "opencv-python-headless", "ultralytics", "kornia"),
    "train": ("lightning", "pytorch-lightning", "hydra-core", "mlflow", "mlflow-skinny", "wandb"),
    "api": ("fastapi", "uvicorn", "starlette", "flask", "gunicorn", "python-multipart"),
    "jupyter": ("jupyter", "jupyterlab", "notebook", "ipykernel"),
}
# Layerline's own probes, and the packages that each of them computes with.
PROBES = {
    "pytorch": {"torch", "torchvision", "torchaudio"},
    "jax": {"jax"},
    "api": {"fastapi", "uvicorn"},
    "jupyter": {"jupyterlab", "ipykernel"},
}
CLAIMS = {
    "cudnn": ["nvidia-cudnn-*"],
    "nvjitlink": ["nvidia-nvjitlink*"],
    "cuda": ["nvidia-*", "cuda-*"],
}
_CUDA = re.compile(r"(?:cuda|cu)[:=-]?(1[1-9])(?!\d{2,})", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class Proposal:
    """The content of a new layerline.toml; `notes` are the guesses with their reasons.

    `left` is what the repository has and the file has not, with the reason for each.
    """

    image: str
    base: str = BASE
    packages: list[str] = field(default_factory=lambda: list(PACKAGES))
    cuda: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    start: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        """The name of the one target."""
        return f"cu{self.cuda}" if self.cuda else "cpu"

    @property
    def is_service(self) -> bool:
        """Whether the image listens on ports."""
        return bool(self.start.get("ports"))

    @property
    def command(self) -> list[str]:
        """The default arguments of the image's entrypoint."""
        given = self.start.get("command")
        return [str(word) for word in given] if isinstance(given, list) else ["python"]

    def text(self) -> str:
        """The text of the file."""
        tables: dict[str, Mapping[str, object]] = {
            "base": {"image": self.base, "packages": self.packages},
            f"targets.{self.target}": {"cuda": self.cuda} if self.cuda else {},
        }
        for name, requirements in self.groups.items():
            projects = {project(each) for each in requirements}
            probed = PROBES.get(name, {""}) <= projects
            own: dict[str, object] = {"requirements": requirements}
            tables[f"groups.{name}"] = {**own, **({"probes": [name]} if probed else {})}
        for name, patterns in CLAIMS.items() if self.cuda else ():
            tables[f"groups.{name}"] = {"claims": patterns}
        tables[f"images.{self.image}"] = {
            "target": self.target,
            "groups": list(self.groups),
            **({"env": self.env} if self.env else {}),
            **self.start,
        }
        parts = [comment("Not taken over:", self.left)] if self.left else []
        parts += [table(name, content) for name, content in tables.items()]
        if not {"command", "entrypoint"} & set(self.start):
            parts[-1] += '# command = ["python", "main.py"]  # no program was found\n'
        return "\n".join(parts)


def propose(home: Path, required: Requirements, dockerfiles: Sequence[Dockerfile]) -> Proposal:
    """The proposal for a repository."""
    found = Proposal(image=normal(required.project or home.name))
    for each in dockerfiles[:1]:
        adopt(found, home, each, required)
    for other in dockerfiles[1:]:
        found.left.append(f"{other.path}: add an image for it")
    found.notes = [*required.notes, *found.notes]
    found.left = [*required.left, *found.left]
    found.groups = _group_by_subject(required)
    if not found.groups:
        reasons = "".join(f"\n  {each}" for each in found.left)
        message = (
            "no requirements found: add dependencies to pyproject.toml or a requirements*.txt, "
            f"then run init again{reasons}"
        )
        raise UsageError(message)
    for group, requirements in found.groups.items():
        found.notes.append(f"group {group}: {', '.join(project(each) for each in requirements)}")
    found.packages += [each for each in required.packages if each not in found.packages]
    _base(found, required)
    _target(found, required, dockerfiles)
    _program(found, home, required.imports)
    return found


def normal(name: str) -> str:
    """A name as `layerline.toml` has it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "image"


def _group_by_subject(required: Requirements) -> dict[str, list[str]]:
    """Requirements by subject; those of an extra that have no subject are a group of its name."""
    groups: dict[str, list[str]] = {}
    for extra, requirements in required.by_name.items():
        for text in requirements:
            subjects = (name for name, them in SUBJECTS.items() if project(text) in them)
            group = next(subjects, normal(extra) if extra else "core")
            known = groups.setdefault(group, [])
            if text not in known:
                known.append(text)
    order = ["core", *SUBJECTS]
    return dict(
        sorted(groups.items(), key=lambda each: (each[0] not in order, *_place(order, each[0])))
    )


def _place(order: Sequence[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else 0, name)


def _base(found: Proposal, required: Requirements) -> None:
    """The distribution that has the Python that is asked for; a Dockerfile's own one stays."""
    wanted = [text for text in required.python if text]
    if found.base not in DISTRIBUTIONS or not wanted:
        return
    fitting = distribution([*wanted, *_of_base(found)])
    fitting = fitting or distribution(wanted)
    shown = " and ".join(dict.fromkeys(wanted))
    if fitting is None:
        known = ", ".join(f"{version} in {name}" for name, version in DISTRIBUTIONS.items())
        found.left.append(f"Python {shown}: no base has it ({known}); {found.base} is used")
        return
    found.base = fitting
    found.notes.append(f"base {fitting}, which has Python {DISTRIBUTIONS[fitting]}: for {shown}")


def _of_base(found: Proposal) -> list[str]:
    return [] if found.base == BASE else [f"=={DISTRIBUTIONS[found.base]}"]


def _target(found: Proposal, required: Requirements, dockerfiles: Sequence[Dockerfile]) -> None:
    """CUDA where a requirement or a base image names its version."""
    texts = {text: "requirement" for them in found.groups.values() for text in them}
    for each in dockerfiles[:1]:
        bases = [one.text for one in each.instructions if one.keyword == "FROM"]
        texts |= dict.fromkeys(bases, f"base image in {each.path}")
    versions = (
        (match[1], f"the {what} {text!r}")
        for text, what in texts.items()
        if (match := _CUDA.search(text))
    )
    asked = [(required.cuda, "the repository's environment")] if required.cuda else []
    for version, reason in [*asked, *versions]:
        found.cuda = version
        found.notes.append(f"target cu{found.cuda}: because of {reason}")
        return
    found.notes.append("target cpu: nothing names a version of CUDA")
    if "pytorch" in found.groups:
        found.notes.append(
            "torch: the default index has it only with CUDA; lock and build with "
            "--extra-index-url of an index that has the +cpu wheels"
        )


def _program(found: Proposal, home: Path, imports: Sequence[str]) -> None:
    """What the image runs, and where its modules are imported from."""
    projects = [each for each in (".", *imports) if is_installed(home, each)]
    if projects:
        found.start["projects"] = projects
        found.notes.append(f"projects {', '.join(projects)}: built as wheels and installed")
    installed = "." in projects
    paths = [] if installed else import_paths(home)
    if not {"command", "entrypoint"} & set(found.start):
        program = find_program(home, installed=installed)
        if program is None:
            found.notes.append("command: no program was found; set it in the image")
        else:
            found.start["command"] = program.command
            found.notes.append(f"command {' '.join(program.command)}: {program.reason}")
            paths = program.paths
            if program.ports and "ports" not in found.start:
                found.start["ports"] = program.ports
    paths = [
        *paths,
        *(path for each in imports if each not in projects for path in import_paths(home, each)),
    ]
    if paths and "PYTHONPATH" not in found.env:
        places = ["/app" if path == "." else f"/app/{path}" for path in paths]
        found.env["PYTHONPATH"] = ":".join(places)
        found.notes.append(
            f"env PYTHONPATH={found.env['PYTHONPATH']}: modules are imported from it"
        )
