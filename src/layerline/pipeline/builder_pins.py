"""What builds packages and projects, as pins in comments of a lock.

Each has a resolution of its own: what builds one of them does not change what is installed. In
comments, since a requirements file has one version of a package.

    # builds langdetect:
    # builds project libs/one:
    #     setuptools==80.9.0 \\
    #         --hash=sha256:…
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from layerline.pipeline import lock
from layerline.pipeline.lock import Pin

_HEAD = re.compile(r"^# builds (?P<project>project )?(?P<name>.+):$")
_INDENT = "#     "


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderPins:
    """The pins of what builds packages, by name, and projects, by directory."""

    packages: Mapping[str, tuple[Pin, ...]] = field(default_factory=dict)
    projects: Mapping[str, tuple[Pin, ...]] = field(default_factory=dict)


def render(packages: Mapping[str, str], projects: Mapping[str, str]) -> str:
    """The comments for pins in the form of `uv pip compile`; those that are alike once."""
    named = [(f"# builds {name}:", text) for name, text in sorted(packages.items())]
    named += [(f"# builds project {path}:", text) for path, text in sorted(projects.items())]
    found: dict[str, list[str]] = {}
    for head, text in named:
        found.setdefault(text, []).append(head)
    # Without pins last: a head has those that follow.
    return "".join(
        "".join(f"{head}\n" for head in heads)
        + "".join(f"{_INDENT}{line}\n" for line in text.splitlines())
        for text, heads in sorted(found.items(), key=lambda each: (not each[0], each[1]))
    )


def parse(text: str) -> BuilderPins:
    """The pins that `render` wrote into a lock."""
    packages: dict[str, tuple[Pin, ...]] = {}
    projects: dict[str, tuple[Pin, ...]] = {}
    heads: list[re.Match[str]] = []
    body: list[str] = []
    for line in [*text.splitlines(), ""]:
        if body and not line.startswith(_INDENT):
            _add(heads, body, packages, projects)
            heads, body = [], []
        if line.startswith(_INDENT):
            body.append(line.removeprefix(_INDENT))
        elif match := _HEAD.match(line):
            heads.append(match)
    _add(heads, body, packages, projects)
    return BuilderPins(packages=packages, projects=projects)


def _add(
    heads: list[re.Match[str]],
    body: list[str],
    packages: dict[str, tuple[Pin, ...]],
    projects: dict[str, tuple[Pin, ...]],
) -> None:
    pins = tuple(lock.parse("".join(f"{line}\n" for line in body)).values())
    for head in heads:
        (projects if head["project"] else packages)[head["name"]] = pins
