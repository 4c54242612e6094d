"""A `layerline.toml` for a repository, guessed from what it has: groups, target and image.

Invariant: every guess is reported, with its reason.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.cli.scaffold.requirements import project
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.cli.scaffold.requirements import Requirements
    from layerline.doctor.dockerfile import Dockerfile, Instruction

BASE = "debian:bookworm-slim"
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
_DISTRIBUTION = re.compile(r"(?:debian|ubuntu):[A-Za-z0-9._-]+")
_RELEASE = re.compile(r"(?P<release>bookworm|trixie)")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_INSTALL = re.compile(r"apt(?:-get)?\s+(?:-\S+\s+)*install\s+(?P<packages>[^;&|]+)")
_NEEDED_TO_BUILD = {"build-essential", "gcc", "g++", "make", "cmake", "python3-pip", "python3-dev"}


@dataclass(slots=True, kw_only=True)
class Proposal:
    """The content of a new layerline.toml; `notes` are the guesses with their reasons."""

    image: str
    base: str = BASE
    packages: list[str] = field(default_factory=lambda: list(PACKAGES))
    cuda: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    start: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        """The name of the one target."""
        return f"cu{self.cuda}" if self.cuda else "cpu"

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
        return "\n".join(_table(name, content) for name, content in tables.items())


def propose(name: str, required: Requirements, dockerfiles: Sequence[Dockerfile]) -> Proposal:
    """The proposal for a repository of that name."""
    found = Proposal(image=_normal(required.project or name), notes=list(required.notes))
    found.groups = _group_by_subject(required)
    if not found.groups:
        message = (
            "no requirements found: add dependencies to pyproject.toml or a requirements*.txt, "
            "then run init again"
        )
        raise UsageError(message)
    for group, requirements in found.groups.items():
        found.notes.append(f"group {group}: {', '.join(project(each) for each in requirements)}")
    if dockerfiles:
        _by_dockerfile(found, dockerfiles[0])
    for other in dockerfiles[1:]:
        found.notes.append(f"{other.path}: ignored; add an image for it by hand")
    _target(found, dockerfiles)
    return found


def _group_by_subject(required: Requirements) -> dict[str, list[str]]:
    """Requirements by subject; those of an extra that have no subject are a group of its name."""
    groups: dict[str, list[str]] = {}
    for extra, requirements in required.by_name.items():
        for text in requirements:
            subjects = (name for name, them in SUBJECTS.items() if project(text) in them)
            group = next(subjects, _normal(extra) if extra else "core")
            known = groups.setdefault(group, [])
            if text not in known:
                known.append(text)
    order = ["core", *SUBJECTS]
    return dict(
        sorted(groups.items(), key=lambda each: (each[0] not in order, *_place(order, each[0])))
    )


def _place(order: Sequence[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else 0, name)


def _target(found: Proposal, dockerfiles: Sequence[Dockerfile]) -> None:
    """CUDA where a requirement or a base image names its version."""
    texts = {text: "requirement" for them in found.groups.values() for text in them}
    for each in dockerfiles[:1]:
        bases = [one.text for one in each.instructions if one.keyword == "FROM"]
        texts |= dict.fromkeys(bases, f"base image in {each.path}")
    for text, what in texts.items():
        if version := _CUDA.search(text):
            found.cuda = version[1]
            found.notes.append(f"target cu{found.cuda}: because of the {what} {text!r}")
            return
    found.notes.append("target cpu: nothing names a version of CUDA")
    if "pytorch" in found.groups:
        found.notes.append(
            "torch: the default index has it only with CUDA; lock and build with "
            "--extra-index-url of an index that has the +cpu wheels"
        )


def _by_dockerfile(found: Proposal, dockerfile: Dockerfile) -> None:
    """Take over how the last stage of a Dockerfile starts, and what it installs from Debian."""
    starts = [n for n, each in enumerate(dockerfile.instructions) if each.keyword == "FROM"]
    if not starts:
        return
    last = dockerfile.instructions[starts[-1] :]
    _base(found, dockerfile.path, last[0].text.split()[0])
    for each in last:
        if note := _take_over(found, each):
            found.notes.append(f"{dockerfile.path}:{each.line}: {note}")


def _base(found: Proposal, path: str, base: str) -> None:
    plain = base.removeprefix("docker.io/").removeprefix("library/")
    release = _RELEASE.search(plain)
    if _DISTRIBUTION.fullmatch(plain):
        found.base = plain
    elif release is not None:
        found.base = f"debian:{release['release']}-slim"
    found.notes.append(
        f"base {found.base}: {path} is based on {base}"
        + ("" if found.base == plain else ", instead of which Debian's own Python is used")
    )


def _take_over(found: Proposal, each: Instruction) -> str:
    """Apply an instruction to the proposal; a note about it, empty where it has no counterpart."""
    match each.keyword:
        case "RUN":
            return _packages(found, each.text)
        case "EXPOSE":
            ports = [int(port) for port in re.findall(r"(\d+)(?:/tcp)?(?:\s|$)", each.text)]
            found.start["ports"] = ports
            return f"ports {ports}"
        case "ENV":
            pairs = _pairs(each.text)
            found.env |= pairs
            return f"env {', '.join(pairs)}" if pairs else ""
        case "USER" if _NAME.fullmatch(each.text) and not each.text.isdigit():
            found.start["user"] = each.text
            return f"user {each.text}"
        case "CMD":
            found.start["command"] = _command(each.text)
            return "command"
        case "ENTRYPOINT":
            found.start["entrypoint"] = ["tini", "--", *_command(each.text)]
            return "entrypoint, behind tini"
        case "HEALTHCHECK" if each.text.startswith("CMD "):
            found.start["healthcheck"] = _command(each.text.removeprefix("CMD "))
            return "healthcheck"
        case _:
            return ""


def _packages(found: Proposal, text: str) -> str:
    """The packages of Debian that a RUN installs; wheels need no compiler."""
    names = [
        word
        for install in _INSTALL.finditer(text)
        for word in install["packages"].split()
        if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word)
    ]
    new = [name for name in names if name not in {*found.packages, *_NEEDED_TO_BUILD}]
    found.packages += new
    return f"packages {' '.join(new)}" if new else ""


def _pairs(text: str) -> dict[str, str]:
    """The variables of an ENV; those made of others are about the old image's own places."""
    try:
        assignments = shlex.split(text)
    except ValueError:
        return {}
    if assignments and "=" not in assignments[0]:
        assignments = [f"{assignments[0]}={' '.join(assignments[1:])}"]
    pairs = dict(each.partition("=")[::2] for each in assignments)
    return {key: value for key, value in pairs.items() if "$" not in value and key != "PATH"}


def _command(text: str) -> list[str]:
    """A command in either form."""
    if text.startswith("["):
        try:
            return [str(word) for word in json.loads(text)]
        except ValueError:
            pass
    return ["sh", "-c", text]


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "image"


def _table(name: str, content: Mapping[str, object]) -> str:
    lines = [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in content.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """JSON's strings, numbers and lists are TOML, too; its objects are written otherwise."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value, ensure_ascii=False)
