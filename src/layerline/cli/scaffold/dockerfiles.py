"""Takes over into a proposal what a Dockerfile says: base, packages, environment, how it starts."""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING

from layerline.cli.scaffold.build_recipe import read_recipe
from layerline.cli.scaffold.python_version import DISTRIBUTIONS
from layerline.cli.scaffold.requirement_files import take_file
from layerline.cli.scaffold.requirements import project

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.cli.scaffold.build_recipe import Recipe
    from layerline.cli.scaffold.proposal import Proposal
    from layerline.cli.scaffold.requirements import Requirements
    from layerline.doctor.dockerfile import Dockerfile

_DISTRIBUTION = re.compile(r"(?:debian|ubuntu):[A-Za-z0-9._-]+")
_PYTHON = re.compile(r"python:(?P<version>3\.\d+)")
_RELEASES = {"bookworm": "debian:bookworm-slim", "trixie": "debian:trixie-slim"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_NEEDED_TO_BUILD = {"build-essential", "gcc", "g++", "make", "cmake"}
_OWN_PYTHON = re.compile(r"python3?(\.\d+)?(-(pip|dev|venv|distutils))?")
_OWN_ENV = {"PATH", "VIRTUAL_ENV", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "DEBIAN_FRONTEND"}
_INSTALLERS = ("PIP_", "POETRY_", "UV_")
_PROGRAM = re.compile(r"[\w./-]+\.(py|sh)")
_INITS = ("tini", "dumb-init")
APP = "/app"


def adopt(found: Proposal, home: Path, dockerfile: Dockerfile, required: Requirements) -> None:
    """Take over a Dockerfile; what has no counterpart is added to `left`."""
    recipe = read_recipe(dockerfile)
    if not recipe.base:
        return
    _take_base(found, recipe, required)
    _take_packages(found, recipe)
    _take_pip(home, recipe, required)
    _take_env(found, home, recipe)
    if recipe.ports:
        found.start["ports"] = sorted(set(recipe.ports))
        found.notes.append(f"ports {found.start['ports']}: {recipe.path}")
    _take_user(found, recipe)
    _take_start(found, home, recipe)
    found.left += recipe.left


def _take_base(found: Proposal, recipe: Recipe, required: Requirements) -> None:
    plain = recipe.base.removeprefix("docker.io/").removeprefix("library/")
    release = next((base for name, base in _RELEASES.items() if name in plain), None)
    if python := _PYTHON.match(plain):
        required.python[:] = [f"=={python['version']}.*"]  # what runs today, not what might
    if _DISTRIBUTION.fullmatch(plain):
        found.base = plain
    elif release is not None:
        found.base = release
    instead = "" if found.base == plain else ", instead of which a distribution's Python is used"
    found.notes.append(f"base {found.base}: {recipe.path} is based on {recipe.base}{instead}")
    if found.base in DISTRIBUTIONS and not _DISTRIBUTION.fullmatch(plain):
        return
    required.python.clear()


def _take_packages(found: Proposal, recipe: Recipe) -> None:
    """The packages of the distribution; wheels need no compiler."""
    for name in dict.fromkeys(recipe.packages):
        if name in _NEEDED_TO_BUILD:
            found.notes.append(f"package {name} left out: wheels need no compiler")
        elif name not in found.packages and not _OWN_PYTHON.fullmatch(name):
            found.packages.append(name)
            found.notes.append(f"package {name}: {recipe.path} installs it")


def _take_pip(home: Path, recipe: Recipe, required: Requirements) -> None:
    """What `pip install` names, unless the repository's own files have it already."""
    known = {project(text) for them in required.by_name.values() for text in them}
    for line, words in recipe.pip:
        where = f"{recipe.path}:{line}, pip install"
        for word in words:
            if word.startswith("-r "):
                path = home / _source(recipe, home, word.removeprefix("-r "))
                if not known:
                    take_file(home, path, "", required)
            elif word in (".", "-e ."):
                continue
            elif word.startswith("-e ") or "/" in word.split("@")[0]:
                required.leave(where, word, "as it is not from an index")
            elif project(word) not in {*known, "pip", "poetry", "uv", "pipenv"}:
                required.take("", [word], where)


def _take_env(found: Proposal, home: Path, recipe: Recipe) -> None:
    for key, value in recipe.env.items():
        if key in _OWN_ENV:
            continue
        if key.startswith(_INSTALLERS):
            found.left.append(f"{recipe.path}: ENV {key} is about an installer")
        elif "$" in value:
            found.left.append(f"{recipe.path}: ENV {key}={value} is made of unknown variables")
        else:
            found.env[key] = ":".join(_in_app(recipe, home, part) for part in value.split(":"))
    if found.env:
        found.notes.append(f"env {', '.join(found.env)}: {recipe.path}")


def _take_user(found: Proposal, recipe: Recipe) -> None:
    if recipe.user.isdigit():
        found.left.append(f"{recipe.path}: USER {recipe.user}: the run user app has the id 1000")
    elif _NAME.fullmatch(recipe.user):
        found.start["user"] = recipe.user
        found.notes.append(f"user {recipe.user}: {recipe.path}")
    elif recipe.user:
        found.left.append(f"{recipe.path}: USER {recipe.user} is not a name of lower-case letters")


def _take_start(found: Proposal, home: Path, recipe: Recipe) -> None:
    entrypoint = _command(found, home, recipe, recipe.entrypoint)
    while entrypoint and (posixpath.basename(entrypoint[0]) in _INITS or entrypoint[0] == "--"):
        entrypoint = entrypoint[1:]
    if entrypoint:
        found.start["entrypoint"] = ["tini", "--", *entrypoint]
        found.notes.append(f"entrypoint {' '.join(entrypoint)}: {recipe.path}, behind tini")
        found.start["command"] = []
    if recipe.command:
        found.start["command"] = _command(found, home, recipe, recipe.command)
        found.notes.append(f"command {' '.join(recipe.command)}: {recipe.path}")
    if recipe.healthcheck:
        found.start["healthcheck"] = _command(found, home, recipe, recipe.healthcheck)
        found.notes.append(f"healthcheck: {recipe.path}")


def _command(found: Proposal, home: Path, recipe: Recipe, words: list[str]) -> list[str]:
    """A command in the image's directory; a script that is not executable gets its shell."""
    placed = [_placed(recipe, home, word) for word in words]
    for word in (part for each in placed for part in each.split()):
        path = home / word.removeprefix("./")
        if _PROGRAM.fullmatch(word) and not word.startswith("/") and not path.is_file():
            found.left.append(f"{recipe.path}: it starts {word}, which the repository has not")
    first = home / placed[0].removeprefix("./") if placed else home
    if first.is_file():
        if not os.access(first, os.X_OK):
            return ["python" if first.suffix == ".py" else "sh", *placed]
        return [f"./{placed[0].removeprefix('./')}", *placed[1:]]
    return placed


def _placed(recipe: Recipe, home: Path, text: str) -> str:
    """The paths of a text as they are in `/app`, where the image starts."""
    if " " in text:
        return " ".join(_placed(recipe, home, word) for word in text.split(" "))
    if text.startswith("/"):
        source = _source(recipe, home, text)
        return source if source != text and (home / source).exists() else text
    below = _below(recipe, home, posixpath.join(recipe.workdir, text))
    return below if below is not None and below != text else text


def _source(recipe: Recipe, home: Path, path: str) -> str:
    """The path in the repository of what an image has at a path."""
    below = _below(recipe, home, posixpath.join(recipe.workdir, path))
    return path if below is None else below


def _below(recipe: Recipe, home: Path, path: str) -> str | None:
    """The path in the repository that an image's path was copied from; the last copy counts."""
    path = posixpath.normpath(path)
    for destination, source in reversed(recipe.copies):
        if path == destination and (home / source).exists():
            return source
        prefix = destination.rstrip("/") + "/"
        below = posixpath.join(source, path.removeprefix(prefix))
        if path.startswith(prefix) and (home / below).exists():
            return below
    return None


def _in_app(recipe: Recipe, home: Path, value: str) -> str:
    """A value that is a directory of the repository, or in it, as it is in the image."""
    if not value.startswith("/"):
        return value
    for destination, source in reversed(recipe.copies):
        prefix = destination.rstrip("/") + "/"
        is_inside = f"{value}/".startswith(prefix) and prefix != "/"
        if is_inside and (home / source).is_dir():
            below = posixpath.join(source, value.removeprefix(destination).lstrip("/"))
            return posixpath.join(APP, below).rstrip("/")
    return value
