"""A lease: who builds a key at the moment, as a text under a tag of the cache's repository.

It says nothing that a reader takes: a lease that is lost, forged or ignored costs a second build at
most. Machines' clocks are not compared: `renewed` is a time of the registry's clock, and `number`
counts up with each renewal, so a copy of an older text is not a sign of life.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field, replace

from layerline.engine.store.digest import canonical
from layerline.errors import ArchiveInvalid

_FORMAT = 1
_LONGEST_SECONDS = 60.0  # nobody waits longer for a holder that has died


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to build the record of `tag`, for `seconds` after each renewal.

    `holder` is a nonce. With `is_sure` the holder knows that nobody else has it; before that it is
    a claim. `renewed` is when, by the registry's clock, in seconds since the epoch; 0 if unknown.
    `made` is the same by the holder's clock, for keys that are trusted for a time only.
    """

    tag: str
    repository: str
    holder: str
    seconds: float
    number: int = 0
    is_sure: bool = False
    is_released: bool = False
    renewed: float = 0.0
    made: int = 0

    def payload(self) -> bytes:
        """The bytes that are signed."""
        return canonical({**asdict(self), "format": _FORMAT})

    def renew(self, date: float | None, *, seconds: float) -> Lease:
        """The next text of a lease that its holder knows to have."""
        return replace(
            self,
            number=self.number + 1,
            is_sure=True,
            renewed=date or 0.0,
            seconds=seconds,
            made=int(time.time()),
        )


def parse_lease(payload: bytes) -> Lease:
    """The lease of a payload from outside. Raises ArchiveInvalid."""
    try:
        document = json.loads(payload)
        if document["format"] != _FORMAT:
            message = f"a lease of the unknown format {document['format']!r}"
            raise ArchiveInvalid(message)
        return Lease(
            tag=str(document["tag"]),
            repository=str(document["repository"]),
            holder=str(document["holder"]),
            seconds=min(_finite(document["seconds"]), _LONGEST_SECONDS),
            number=int(document["number"]),
            is_sure=document["is_sure"] is True,
            is_released=document["is_released"] is True,
            renewed=_finite(document["renewed"]),
            made=int(document["made"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as exc:
        message = f"invalid lease: {exc!r}"
        raise ArchiveInvalid(message) from exc


@dataclass(slots=True, kw_only=True)
class Watch:
    """What was seen of a lease over time, to tell a holder that lives from one that has died."""

    _numbers: dict[str, int] = field(default_factory=dict)
    _since: float = -math.inf

    def is_alive(self, lease: Lease, date: float | None, now: float) -> bool:
        """Whether the holder has renewed a lease lately.

        It has not if the registry's clock, `date`, says so, or if no new text was seen for the time
        of the lease; `now` is monotonic.
        """
        if lease.number > self._numbers.get(lease.holder, -1):
            self._numbers[lease.holder] = lease.number
            self._since = now
        if date is not None and lease.renewed and date - lease.renewed > lease.seconds + 1:
            return False
        return now - self._since <= lease.seconds


def _finite(value: object) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    if not 0 <= number < math.inf:
        message = f"invalid number {value!r} in a lease"
        raise ArchiveInvalid(message)
    return number
