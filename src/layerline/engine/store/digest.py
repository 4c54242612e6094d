"""Digests: the names of bytes, and the keys of declared values.

Invariant: equal values have equal digests on every machine; nothing of the moment or the machine
takes part.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import NewType

from layerline.errors import ArchiveInvalid

Digest = NewType("Digest", str)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def parse_digest(text: str) -> Digest:
    """Take text from outside as a digest; only SHA-256 in lower case is one."""
    if _DIGEST.fullmatch(text) is None:
        message = f"{text[:100]!r} is no digest: sha256: and 64 hexadecimal digits are needed"
        raise ArchiveInvalid(message)
    return Digest(text)


def digest_bytes(data: bytes) -> Digest:
    """The name of these bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def canonical(value: object) -> bytes:
    """The one JSON text of a value: keys sorted, no spaces, ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def digest_of(value: object) -> str:
    """The key of a value that JSON can hold: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()
