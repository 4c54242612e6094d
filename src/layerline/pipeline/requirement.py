"""Parses requirements and normalizes the names of projects."""

import re

REQUIREMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*\])?\s*([<>=!~;@(].*)?$"


def project(requirement: str) -> str:
    """The project that a requirement names, without extras and versions."""
    return normalize_name(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def normalize_name(name: str) -> str:
    """Normalize a project's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()
