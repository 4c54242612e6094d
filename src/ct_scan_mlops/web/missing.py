"""What a service lacks, as /ready tells it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What stands between the service and an answer, and the variable that would change it."""

    variable: str
    value: str | None
    error: str
