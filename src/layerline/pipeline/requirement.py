"""A requirement's text: the project that it names."""

import re

REQUIREMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*\])?\s*([<>=!~;@(].*)?$"


def project(requirement: str) -> str:
    """The project that a requirement names, without extras and versions."""
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def normal(name: str) -> str:
    """A project's name in its one normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()
