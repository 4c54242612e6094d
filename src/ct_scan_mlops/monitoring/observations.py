"""What a client reports: one observation, or a list of them, checked before any of it is kept.

The JSON is read with the standard library, since that alone lets us refuse what has two meanings:
a name given twice, and NaN or 1e999, which are not JSON but pass nearly everywhere. A message
quotes what the client wrote only in ASCII and cut off.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import numpy as np

from ct_scan_mlops.errors import ObservationsInvalid
from ct_scan_mlops.monitoring.reference import LARGEST_COMPONENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from ct_scan_mlops.monitoring.reference import Reference

    Floats: TypeAlias = NDArray[np.float64]

MOST_OBSERVATIONS = 1000
NAMES_SHOWN = 10
# The list, and each observation with its features and its embedding.
MOST_BRACKETS = 1 + 3 * MOST_OBSERVATIONS

_SCHEMA = {
    "type": "object",
    "required": ["features"],
    "additionalProperties": False,
    "properties": {
        "features": {"type": "object", "additionalProperties": {"type": "number"}},
        "embedding": {"type": "array", "items": {"type": "number"}},
    },
}
DOCUMENTED = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        _SCHEMA,
                        {"type": "array", "items": _SCHEMA, "maxItems": MOST_OBSERVATIONS},
                    ]
                }
            }
        },
    }
}
"""For /openapi.json, since the body is read by hand."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """One slice as the model saw it: its features in the reference's order."""

    features: Floats
    embedding: NDArray[np.float32] | None


def parse(body: bytes, reference: Reference) -> list[Observation]:
    _check_nesting(body)
    document = _json(body)
    items = document if isinstance(document, list) else [document]
    if not 0 < len(items) <= MOST_OBSERVATIONS:
        message = f"There are {len(items)} observations. Send 1 to {MOST_OBSERVATIONS} at once."
        raise ObservationsInvalid(message)
    return [_observation(item, number, reference) for number, item in enumerate(items)]


def _check_nesting(body: bytes) -> None:
    """Before anything is made of it: Python takes twenty times the body's size for `[[],[],…]`."""
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
        message = f"The body has more lists and objects than {MOST_OBSERVATIONS} observations have."
        raise ObservationsInvalid(message)


def _json(body: bytes) -> object:
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_constant,
        )
    except RecursionError as failure:
        message = "The body is nested too deep."
        raise ObservationsInvalid(message) from failure
    # Also what is not UTF-8, and whole numbers of more digits than Python converts.
    except ValueError as failure:
        message = "The body is not JSON."
        raise ObservationsInvalid(message) from failure


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "An object of the body has a name twice."
        raise ObservationsInvalid(message)
    return found


def _refuse_constant(text: str) -> NoReturn:
    message = f"{text} is not JSON. Send finite numbers, and leave out what could not be measured."
    raise ObservationsInvalid(message)


def _observation(item: object, number: int, reference: Reference) -> Observation:
    where = f"Observation {number}"
    if not isinstance(item, dict) or not isinstance(item.get("features"), dict):
        message = f"{where} is not like {{'features': {{'name': 1.5}}, 'embedding': [0.5]}}."
        raise ObservationsInvalid(message)
    _same_names(f"{where} has", item.keys() - {"embedding"}, {"features"})
    features: Mapping[str, object] = item["features"]
    _same_names(f"The features of observation {number} have", features.keys(), reference.names)
    values = [_finite(features[name], f"{where}: {name}") for name in reference.names]
    embedding = item.get("embedding")
    return Observation(
        features=np.array(values, dtype=np.float64),
        embedding=None if embedding is None else _embedding(embedding, where, reference),
    )


def _same_names(what: str, found: Collection[str], wanted: Collection[str]) -> None:
    unknown = [name for name in found if name not in wanted]
    missing = [name for name in wanted if name not in found]
    if unknown or missing:
        parts = [f"no {_listed(missing)}"] if missing else []
        parts += [f"{_listed(unknown)}, which the reference has not"] if unknown else []
        message = f"{what} {', and '.join(parts)}."
        raise ObservationsInvalid(message)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(ascii(name)[:80] for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _finite(value: object, what: str) -> float:
    try:
        # JSON's true is Python's 1.
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    message = f"{what} is no finite number."
    raise ObservationsInvalid(message)


def _embedding(value: object, where: str, reference: Reference) -> NDArray[np.float32] | None:
    if not isinstance(value, list):
        message = f"{where}: embedding is no list of numbers."
        raise ObservationsInvalid(message)
    width = reference.embedding_width
    if width and len(value) != width:
        message = f"{where}: embedding has {len(value)} components, the reference has {width}."
        raise ObservationsInvalid(message)
    numbers = [_finite(component, f"{where}: a component of embedding") for component in value]
    if any(abs(number) > LARGEST_COMPONENT for number in numbers):
        message = f"{where}: a component of embedding is beyond {LARGEST_COMPONENT:g}."
        raise ObservationsInvalid(message)
    # With nothing to compare it with, it is not kept either.
    return np.array(numbers, dtype=np.float32) if width else None
