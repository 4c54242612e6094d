"""Lists of pinned requirements, as `uv export` and `uv pip compile` write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

SDK = re.compile(r"dagger[-_.]io\s*(\[|[=<>!~;@ \\]|$)", re.IGNORECASE)
HASH = "--hash="
# What uv says when pins contradict each other.
CONFLICT = re.compile(r"No solution found|requirements are unsatisfiable")
_LOCAL = ("-e", "--editable", "./", "../", "/", "file:")
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*\s*(\[[^\]]*\])?)\s*===?\s*[^\s;\\]+(?P<marker>[^\\]*)"
)


def pins(text: str) -> str:
    """The requirements that are used: the SDK has the engine's version, paths are left out."""
    kept = (line for line in _logical_lines(text) if not SDK.match(line) and not _is_local(line))
    return "".join(f"{line}\n" for line in kept)


def without_versions(text: str) -> str:
    """The same requirements in any version: what is to be resolved again."""
    lines: list[str] = []
    for line in _logical_lines(text):
        match = _PIN.match(line)
        if match is not None:
            marker = match["marker"].partition(HASH)[0].strip()
            lines.append(f"{match['name'].strip()} {marker}".strip())
        else:
            lines.append(line.partition(HASH)[0].strip())
    return "".join(f"{line}\n" for line in lines)


def is_plain_requirement(text: str) -> bool:
    """Whether a text is a requirement by name and version (PEP 508), without a URL."""
    try:
        return Requirement(text.strip()).url is None
    except InvalidRequirement:
        return False


def _logical_lines(text: str) -> Iterator[str]:
    """The lines that say something, continued ones joined."""
    for line in text.replace("\\\n", " ").splitlines():
        plain = re.sub(r"(^|\s)#.*$", "", line).strip()
        if plain:
            yield re.sub(r"\s+(?=--hash=)", " ", plain)


def _is_local(line: str) -> bool:
    return line.startswith(_LOCAL) or line == "." or "@ file:" in line
