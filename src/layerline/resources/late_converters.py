"""Part of every module's SDK: its converters are made where an answer has objects.

The text of this file is appended to `dagger/client/_core.py`. There each call of a chain makes a
converter of its own, which takes most of the time of building a query; only that of the last call
structures an answer, and it differs from the others only for objects, which it gives the context.
"""

from collections.abc import Callable
from typing import Any, Protocol

PLAIN = (bool, float, int, str)


class Converter(Protocol):
    """What a context uses of cattrs' converter."""

    def unstructure(self, value: Any) -> Any:  # noqa: ANN401
        """The JSON value of a Python one."""

    def structure(self, value: Any, cl: Any) -> Any:  # noqa: ANN401
        """The Python value of a JSON one."""


def made_late(make: Callable[[Any], Converter]) -> Callable[[Any], Converter]:
    """`make`, put off until its result is needed."""
    shared: list[Converter] = []

    def of_all() -> Converter:
        if not shared:
            shared.append(make(None))
        return shared[0]

    class LateConverter:
        __slots__ = ("context",)

        def __init__(self, context: Any) -> None:  # noqa: ANN401
            self.context = context

        def unstructure(self, value: Any) -> Any:  # noqa: ANN401
            return of_all().unstructure(value)

        def structure(self, value: Any, cl: Any) -> Any:  # noqa: ANN401
            is_plain = isinstance(cl, type) and issubclass(cl, PLAIN)
            converter = of_all() if is_plain else make(self.context)
            return converter.structure(value, cl)

    return LateConverter
