"""Line numbers in a `layerline.toml`: `tomllib` and pydantic give paths of keys, not lines."""

import re
from collections.abc import Iterator, Sequence

Place = tuple[str | int, ...]
_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"""^\s*([A-Za-z0-9_."'-]+)\s*=""")
_SYNTAX_ERROR = re.compile(r"\(at line (\d+)")


def line_of_syntax_error(message: str) -> int | None:
    """The line that a message of `tomllib` names."""
    found = _SYNTAX_ERROR.search(message)
    return int(found[1]) if found else None


def line_of_place(text: str, place: Place) -> int | None:
    """The line of the deepest key of a place that is in the text; first line 1."""
    lines = dict(_lines_of_keys(text))
    keys = [str(key) for key in place]
    for length in range(len(keys), 0, -1):
        line = lines.get(tuple(keys[:length]))
        if line is not None:
            return _line_of_value(text, line, keys[length:])
    return None


def _lines_of_keys(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield every table and key with its line."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _split(header[1])
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *_split(key[1])), number


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _line_of_value(text: str, line: int, values: Sequence[str]) -> int:
    """The line from `line` on, before the next key, that has the last value as a string."""
    for number, content in enumerate(text.splitlines()[line - 1 :], start=line):
        if values and f'"{values[-1]}"' in content:
            return number
        if number > line and (_HEADER.match(content) or _KEY.match(content)):
            break
    return line
