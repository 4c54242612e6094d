"""What a Dockerfile says of an image: the stages it ends with, read and never run."""

from __future__ import annotations

import itertools
import json
import posixpath
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layerline.doctor.dockerfile import Dockerfile, Instruction

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<plain>\w+))")
_APT = re.compile(r"apt(?:-get)?\s+(?:-\S+\s+)*install\s+(?P<packages>[^;&|]+)")
_PIP = re.compile(r"(?:uv\s+)?\bpip3?\s+install\s+(?P<arguments>[^;&|]+)")
_PORTS = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?(?:/(?P<protocol>tcp|udp))?")
_VALUED = {"-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-t", "--target", "-c"}
_COMMENT = re.compile(r"\s#.*$")


@dataclass(slots=True)
class Recipe:
    """A Dockerfile's last stage, with those it is built from and those it copies from.

    `pip` are the arguments of each `pip install`, `copies` pairs of a path in the image and a path
    in the repository that it may come from, `left` what has no counterpart, with its line.
    """

    path: str
    base: str = ""
    env: dict[str, str] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    pip: list[tuple[int, list[str]]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    user: str = ""
    workdir: str = "/"
    copies: list[tuple[str, str]] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def read_recipe(dockerfile: Dockerfile) -> Recipe:
    """Evaluate the last stage; a stage that it copies from gives its packages of pip alone."""
    recipe = Recipe(path=dockerfile.path)
    stages = _stages(dockerfile)
    if not stages:
        return recipe
    variables = _arguments(dockerfile)
    own = _chain(stages, len(stages) - 1, variables)
    recipe.base = _expand(stages[own[0]][0].text.split()[0], variables)
    for number in own:
        for each in stages[number][1:]:
            _apply(recipe, each, {**variables, **recipe.env})
    for number in sorted({*range(len(stages))} - {*own}):
        if number in _copied(stages, own):
            for each in stages[number][1:]:
                recipe.pip += _pip_installs(each, variables)
    return recipe


def _stages(dockerfile: Dockerfile) -> list[list[Instruction]]:
    starts = [
        n for n, each in enumerate(dockerfile.instructions) if each.keyword == "FROM" and each.text
    ]
    bounds = [*starts, len(dockerfile.instructions)]
    return [list(dockerfile.instructions[a:b]) for a, b in itertools.pairwise(bounds)]


def _arguments(dockerfile: Dockerfile) -> dict[str, str]:
    """The defaults of ARG."""
    found: dict[str, str] = {}
    for each in dockerfile.instructions:
        if each.keyword == "ARG":
            name, _, value = each.text.partition("=")
            found.setdefault(name, _expand(value.strip("\"'"), found))
    return found


def _names(stages: list[list[Instruction]]) -> dict[str, int]:
    named = {}
    for number, stage in enumerate(stages):
        words = stage[0].text.split()
        if len(words) > 2 and words[1].upper() == "AS":
            named[words[2].lower()] = number
    return named


def _chain(stages: list[list[Instruction]], last: int, variables: Mapping[str, str]) -> list[int]:
    """The stages that one is built from, itself last."""
    found = [last]
    base = _expand(stages[last][0].text.split()[0], variables).lower()
    above = _names(stages).get(base)
    return (
        [*_chain(stages, above, variables), *found] if above is not None and above < last else found
    )


def _copied(stages: list[list[Instruction]], own: list[int]) -> set[int]:
    names = _names(stages)
    froms = {value for number in own for each in stages[number] for value in each.flag("from")}
    return {
        names[each.lower()] if each.lower() in names else int(each)
        for each in froms
        if each.lower() in names or each.isdigit()
    }


def _apply(recipe: Recipe, each: Instruction, variables: Mapping[str, str]) -> None:
    """Add what one instruction says."""
    text = _expand(each.text, variables)
    match each.keyword:
        case "RUN":
            recipe.packages += _apt_packages(recipe, each, text)
            recipe.pip += _pip_installs(each, variables)
        case "ENV":
            pairs = _pairs(each.text)
            recipe.env |= {key: _expand(value, variables) for key, value in pairs.items()}
        case "EXPOSE":
            recipe.ports += _ports(recipe, each, text)
        case "USER":
            recipe.user = text.split(":")[0]
        case "WORKDIR":
            recipe.workdir = posixpath.join(recipe.workdir, text)
        case "COPY" | "ADD" if not each.flag("from"):
            recipe.copies += _copies(recipe, each)
        case _:
            _apply_start(recipe, each)


def _apply_start(recipe: Recipe, each: Instruction) -> None:
    """Add what an instruction says about how the image starts."""
    match each.keyword:
        case "ENTRYPOINT":
            recipe.entrypoint, recipe.command = command(each.text), []
        case "CMD":
            recipe.command = command(each.text)
        case "HEALTHCHECK" if each.text.startswith("CMD"):
            recipe.healthcheck = command(each.text.removeprefix("CMD").strip())
        case "VOLUME" | "SHELL" | "STOPSIGNAL" | "ONBUILD":
            recipe.left.append(f"{recipe.path}:{each.line}: {each.keyword} has no counterpart")
        case _:
            pass


def _apt_packages(recipe: Recipe, each: Instruction, text: str) -> Iterator[str]:
    """The packages of the distribution; a version belongs to one release of it and is left out."""
    for install in _APT.finditer(text):
        for word in install["packages"].split():
            name, _, version = word.partition("=")
            if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name):
                if version:
                    shown = f"{recipe.path}:{each.line}: the version of {word} left out"
                    recipe.left.append(f"{shown}: the base image's release decides it")
                yield name


def _pip_installs(each: Instruction, variables: Mapping[str, str]) -> list[tuple[int, list[str]]]:
    if each.keyword != "RUN":
        return []
    found = []
    for install in _PIP.finditer(_expand(each.text, variables)):
        try:
            words = shlex.split(_COMMENT.sub("", install["arguments"]))
        except ValueError:
            continue
        found.append((each.line, list(_kept_arguments(words))))
    return found


def _kept_arguments(words: list[str]) -> Iterator[str]:
    """Requirements and `-r FILE`, joined as in a file of requirements."""
    rest = iter(words)
    for word in rest:
        if word in ("-r", "--requirement"):
            yield f"-r {next(rest, '')}"
        elif word.startswith("-r") and not word.startswith("--"):
            yield f"-r {word[2:]}"
        elif word in ("-e", "--editable"):
            yield f"-e {next(rest, '')}"
        elif word in _VALUED:
            next(rest, "")
        elif not word.startswith("-"):
            yield word


def _ports(recipe: Recipe, each: Instruction, text: str) -> Iterator[int]:
    for word in text.split():
        match = _PORTS.fullmatch(word)
        if match is None or match["protocol"] == "udp":
            recipe.left.append(f"{recipe.path}:{each.line}: the port {word} left out")
            continue
        yield from range(int(match["first"]), int(match["last"] or match["first"]) + 1)


def _pairs(text: str) -> dict[str, str]:
    try:
        assignments = shlex.split(text)
    except ValueError:
        return {}
    if assignments and "=" not in assignments[0]:
        assignments = [f"{assignments[0]}={' '.join(assignments[1:])}"]
    return dict(each.partition("=")[::2] for each in assignments)


def _copies(recipe: Recipe, each: Instruction) -> Iterator[tuple[str, str]]:
    """Yield where a path of the image may come from: a file below its name, a directory without."""
    operands = each.operands or ["."]
    destination = posixpath.normpath(posixpath.join(recipe.workdir, operands[-1]))
    for source in operands[:-1]:
        plain = posixpath.normpath(source.lstrip("/"))
        inside = "" if plain == "." else plain
        yield destination, inside
        if inside:
            yield posixpath.join(destination, posixpath.basename(inside)), inside


def _expand(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        return variables.get(name) or match["default"] or ("" if name in variables else match[0])

    return _VARIABLE.sub(value, text)


def command(text: str) -> list[str]:
    """A command in either form."""
    if text.startswith("["):
        try:
            return [str(word) for word in json.loads(text)]
        except ValueError:
            pass
    return ["sh", "-c", text]
