"""Progress for programs: each event of the journal as a line of JSON (`--progress=json`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.log import Event


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Writes events as lines.

    Each has `step`, `kind` (work, call or span), `name` and `time` (seconds since the epoch);
    `parent` and `attributes` where there are some; `stream` (1 or 2) and `output`; `received` and,
    where it is known, `expected` bytes of a download; or `status` (DONE, CACHED, ERROR, CANCELED),
    `seconds` and `message`.
    """

    write: Callable[[str], object]

    def __call__(self, event: Event) -> None:
        """A listener of the journal."""
        line: dict[str, Any] = {
            "step": event.step,
            "kind": event.kind.value,
            "name": event.name,
            "time": round(event.time, 6),
        }
        if event.parent is not None:
            line["parent"] = event.parent
        if event.attributes:
            line["attributes"] = dict(event.attributes)
        if event.output is not None:
            line |= {"stream": event.stream, "output": event.output.decode(errors="replace")}
        if event.received is not None:
            line |= {"received": event.received}
            line |= {"expected": event.expected} if event.expected else {}
        if event.status is not None:
            line |= {"status": event.status.value, "seconds": round(event.seconds, 6)}
            if event.message:
                line["message"] = event.message
        self.write(json.dumps(line, ensure_ascii=False) + "\n")
