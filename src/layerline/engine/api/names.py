"""Names on the wire and in Python: lowerCamelCase and snake_case."""

from __future__ import annotations

import functools
import re

from layerline.errors import PathError

_LONGEST_NAME = 255
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@functools.cache
def snake(name: str) -> str:
    """`withNewFile` -> `with_new_file`; `asJSON` -> `as_json`."""
    return _BOUNDARY.sub("_", name).lower()


def check_name(path: str) -> None:
    """Refuse a path whose last part no file system can hold."""
    if len(path.rstrip("/").rpartition("/")[2].encode()) > _LONGEST_NAME:
        limit = f"File name length exceeds the maximum supported {_LONGEST_NAME} characters"
        message = f"{limit}: file name too long"
        raise PathError(message)


def is_plain_name(name: str) -> bool:
    """Whether a text is the name of a file and not a path."""
    return bool(name) and "/" not in name and name not in (".", "..")
