"""Tables and comments as TOML text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def table(name: str, content: Mapping[str, object]) -> str:
    """A table with its keys."""
    lines = [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in content.items())]
    return "\n".join(lines) + "\n"


def comment(title: str, lines: Sequence[str]) -> str:
    """A comment with a line for each text; line breaks in a text do not end the comment."""
    return "\n".join([f"# {title}", *(f"# - {' '.join(each.split())}" for each in lines)]) + "\n"


def _value(value: object) -> str:
    """JSON's strings, numbers and lists are TOML, too; its objects are written otherwise."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(key))} = {_value(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value, ensure_ascii=False)
