"""Checks that are put off are made before the first call, once, and change nothing else."""

from __future__ import annotations

import inspect

import pytest

from layerline.resources.late_checks import checked_late


def checked(seen: list[type]) -> type:
    def check(owner: type) -> None:
        seen.append(owner)
        plain = owner.__dict__["double"]

        def strict(self: object, number: object) -> object:
            if not isinstance(number, int):
                message = "no number"
                raise TypeError(message)
            return plain(self, number)

        owner.double = strict  # type: ignore[attr-defined]

    class Thing:
        kind = "thing"

        def double(self, number: int) -> int:
            """Twice the number."""
            return 2 * number

        async def later(self) -> str:
            return "done"

    return checked_late(check)(Thing)


def test_a_class_is_checked_when_it_is_first_used_and_once() -> None:
    seen: list[type] = []
    thing = checked(seen)
    assert seen == []
    made = thing()
    assert [made.double(2), made.double(3)] == [4, 6]
    assert seen == [thing]


def test_the_first_call_is_checked_as_well() -> None:
    with pytest.raises(TypeError, match="no number"):
        checked([])().double("2")


def test_signatures_and_names_stay() -> None:
    thing = checked([])
    assert list(inspect.signature(thing.double).parameters) == ["self", "number"]  # type: ignore[attr-defined]
    assert thing.double.__doc__ == "Twice the number."  # type: ignore[attr-defined]
    assert thing.kind == "thing"  # type: ignore[attr-defined]


async def test_a_coroutine_may_come_first() -> None:
    seen: list[type] = []
    thing = checked(seen)
    assert await thing().later() == "done"
    assert seen == [thing]
