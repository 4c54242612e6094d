"""Parses requirements and normalizes the names of projects."""

import re
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed

REQUIREMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*\])?\s*([<>=!~;@(].*)?$"

_SCHEMES = ("https", "http", "git+https", "git+http", "git+ssh")
_SINGLE = re.compile(r"^([A-Za-z0-9._-]+(?:\[[^]]*\])?)\s*=\s*([^=\s].*)$")


def project(requirement: str) -> str:
    """The project that a requirement names, without extras and versions."""
    return normalize_name(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def normalize_name(name: str) -> str:
    """Normalize a project's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def refuse_line(text: object) -> object:
    """A value as it is; ValueError if it is another line that pip takes in its files."""
    line = text.strip() if isinstance(text, str) else ""
    if line.startswith(("-r", "--requirement")):
        message = "a file is not a requirement; did you mean the requirements in it?"
        raise ValueError(message)
    if line.startswith(("-e", "--editable", ".", "/")):
        message = "a directory is not a requirement; did you mean images.NAME.projects?"
        raise ValueError(message)
    if line.startswith("-"):
        message = "an option of pip is not a requirement; did you mean a setting of the target?"
        raise ValueError(message)
    return text


def check_requirement(text: str) -> str:
    """A requirement as it is; ValueError says what is wrong with one that is not in PEP 508."""
    try:
        parsed = Parsed(text)
    except InvalidRequirement as exc:
        if single := _SINGLE.match(text):
            message = f"'=' is not an operator of versions; did you mean {single[1]}=={single[2]}?"
            raise ValueError(message) from exc
        message = f"not a requirement (PEP 508): {str(exc).splitlines()[0]}"
        raise ValueError(message) from exc
    if parsed.url is not None:
        _check_url(parsed.url)
    return text


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        message = f"the schemes of URLs are {', '.join(_SCHEMES)}"
        if parts.scheme in ("", "file"):
            message = "a directory is not a requirement; did you mean images.NAME.projects?"
        raise ValueError(message)
    if "subdirectory=" in parts.fragment and not parts.scheme.startswith("git+"):
        message = "a subdirectory is that of a repository; did you mean a URL with git+?"
        raise ValueError(message)
    if parts.password is not None or (parts.username and not parts.scheme.endswith("ssh")):
        message = (
            "the URL has credentials, which the lock would show; did you mean a URL without them, "
            "and --index-credentials?"
        )
        raise ValueError(message)
