"""Whether a secret is in a stream of bytes, as it is or line by line.

Encoded forms are not looked for: that costs more than packing, and a program that only downloads
writes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.engine.store.cancellation import check_cancelled

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST = 8  # bytes of a line: shorter ones are found everywhere


def secret_lines(secrets: Iterable[bytes]) -> frozenset[bytes]:
    """What to look for: the secrets without white space around them, and their longer lines."""
    found = {secret.strip() for secret in secrets}
    for secret in secrets:
        found |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= _SHORTEST}
    return frozenset(found - {b""})


def holds_any(chunks: Iterable[bytes], values: frozenset[bytes]) -> bool:
    """Whether one of some values is in a stream; it may reach over the end of a chunk."""
    longest = max(map(len, values), default=0)
    rest = b""
    for chunk in chunks:
        check_cancelled()
        text = rest + chunk
        if any(value in text for value in values):
            return True
        rest = text[max(0, len(text) - longest + 1) :]
    return False
