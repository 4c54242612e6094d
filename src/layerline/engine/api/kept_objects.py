"""Objects whose ids a client was given, kept in the store: the next session knows them as well.

What lasts for one session is not kept: secrets, services, and what is based on them. A fixed number
is kept, so the store does not grow with them: a new one takes the slot of another.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from layerline.engine.solve.keys import identity_of
from layerline.engine.solve.serialization import decode, encode, snapshots_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layerline.engine.store.index import Index
    from layerline.scrub import SecretMasks

_TABLE = "object"
_SLOTS = 4096
_BYTES = re.compile(r'\{"\$bytes":"([^"]*)"\}')
_OF_ONE_SESSION = ('"$":"Secret"', '"$":"SecretRef"', '"$":"Service"')


def keep(index: Index, values: Iterable[Any], masks: SecretMasks) -> None:
    """Keep the last of some values, without those that hold a secret in any form."""
    for value in list(values)[-_SLOTS:]:
        name = _name(value)
        document = encode(value)
        text = json.dumps(document, separators=(",", ":"))
        if not any(mark in text for mark in _OF_ONE_SESSION) and not _holds_secret(text, masks):
            row: dict[str, object] = {"id": name, "document": document}
            snapshots = sorted(set(snapshots_in(document)))
            index.put(_TABLE, _slot(name), row, snapshots=snapshots)


def _holds_secret(text: str, masks: SecretMasks) -> bool:
    """Whether a document has a secret in it; bytes are in base64 there."""
    if not masks.forms:
        return False
    return masks.holds(
        _BYTES.sub(lambda found: base64.b64decode(found[1]).decode(errors="replace"), text)
    )


def recall(index: Index, identifier: str) -> Any:
    """The value of an id that an earlier session gave; None if it is not known."""
    row = index.get(_TABLE, _slot(identifier))
    if row is None or row["id"] != identifier:
        return None
    document = row["document"]
    assert isinstance(document, dict)
    value = decode(document)
    return value if _name(value) == identifier else None


def _name(value: Any) -> str:
    return f"{value.typename}:{identity_of(value)}"


def _slot(identifier: str) -> str:
    digest = identifier.rpartition(":")[2]
    try:
        return f"slot {int(digest[-8:], 16) % _SLOTS}"
    except ValueError:
        return "slot"
