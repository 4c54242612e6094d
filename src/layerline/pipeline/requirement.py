"""Parses requirements and normalizes the names of projects."""

import re

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed

REQUIREMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*\])?\s*([<>=!~;@(].*)?$"

_SINGLE = re.compile(r"^([A-Za-z0-9._-]+(?:\[[^]]*\])?)\s*=\s*([^=\s].*)$")


def project(requirement: str) -> str:
    """The project that a requirement names, without extras and versions."""
    return normalize_name(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def normalize_name(name: str) -> str:
    """Normalize a project's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check_requirement(text: str) -> str:
    """A requirement as it is; ValueError says what is wrong with one that is not in PEP 508."""
    try:
        Parsed(text)
    except InvalidRequirement as exc:
        if single := _SINGLE.match(text):
            message = f"'=' is not an operator of versions; did you mean {single[1]}=={single[2]}?"
            raise ValueError(message) from exc
        message = f"not a requirement (PEP 508): {str(exc).splitlines()[0]}"
        raise ValueError(message) from exc
    return text
