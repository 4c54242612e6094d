"""The op behind COPY and ADD: wildcards, owners by name, archives to unpack."""

from __future__ import annotations

from dataclasses import dataclass

from layerline.engine.solve.codec import register
from layerline.engine.solve.ops import Op


@register
@dataclass(frozen=True, kw_only=True)
class Placed(Op):
    """`base` with what `patterns` match in `source` placed at `destination`, as COPY does it.

    A directory's content is merged in; a file goes under its name into a destination that is a
    directory or ends in a slash. Patterns are absolute. `owner` gets all that is copied and made;
    without one, what is copied keeps its owner. `mode` is octal or symbolic, empty for the
    source's. With `parents` the directories above a match come along, those below `/./` in its
    pattern. With `unpack` archives are unpacked.
    """

    base: Op
    destination: str
    source: Op
    patterns: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    owner: str = ""
    mode: str = ""
    parents: bool = False
    unpack: bool = False
