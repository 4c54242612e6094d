"""SHA-256 digests of bytes and of JSON values.

Invariant: equal values have equal digests on every machine and at any time.
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
    """Validate text from outside as a SHA-256 digest in lower case."""
    if _DIGEST.fullmatch(text) is None:
        message = f"invalid digest {text[:100]!r}: expected sha256: and 64 hexadecimal digits"
        raise ArchiveInvalid(message)
    return Digest(text)


def digest_bytes(data: bytes) -> Digest:
    """The digest of these bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def canonical(value: object) -> bytes:
    """The canonical JSON of a value: keys sorted, no spaces, ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def digest_of(value: object) -> str:
    """The key of a value that JSON can hold: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()
