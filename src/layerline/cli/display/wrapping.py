"""Lines that fit a terminal, measured in its cells: some characters take two."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_ROOM = 20  # cells
_WORD = re.compile(r"\s*\S+")


def wrap(text: str, width: int, indent: str) -> Iterator[str]:
    """Break a text between words, or in a word that is wider than a line; spaces are kept.

    All lines but the first begin with the indent, where that leaves room.
    """
    # Only terminals need it, and these have it loaded already.
    from rich.cells import cell_len, chop_cells

    if width - len(indent) < _LEAST_ROOM:
        indent = ""
    line = ""
    for word in _WORD.findall(text):
        if cell_len(line + word) <= width:
            line += word
            continue
        if line:
            yield line
        *full, line = chop_cells(word.strip(), width - len(indent))
        for piece in full:
            yield indent + piece
        line = indent + line
    yield line
