"""What to write into `layerline.toml` where a resolution fails for what the base is or lacks."""

import re

from layerline.pipeline.definition import Definition

_PYTHON = re.compile(r"current Python version \((\S+)\) does not satisfy Python\s*>=\s*3\.(\d+)")
_NO_GIT = "Git executable not found"
_WAYS = "To resolve it:\n"


def with_hints(said: str, definition: Definition, target: str) -> str:
    """The explanation of a conflict, with what the base would have to be for it to resolve."""
    if found := _PYTHON.findall(said):
        version, _ = found[0]
        newer = max(int(minor) for _, minor in found)
        heading = "" if _WAYS in said else _WAYS
        said = f'{said}\n{heading}  - base: python = "3.{newer}" instead of Python {version}'
    if _NO_GIT in said:
        packages = ", ".join(f'"{name}"' for name in sorted({*definition.base.packages, "git"}))
        said = f"{said}\n{_origin(said, definition, target)}: add it: base.packages = [{packages}]"
    return said


def _origin(said: str, definition: Definition, target: str) -> str:
    """The requirement that wants git, and its group."""
    for name, group in definition.groups_of(target).items():
        for requirement in group.requirements_for(target):
            if "git+" in requirement and requirement in said:
                return f"group {name} requires {requirement}, and the base has no git"
    return "a requirement comes from a git repository, and the base has no git"
