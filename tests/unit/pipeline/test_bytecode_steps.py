"""How a layer is divided into the steps that compile it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from layerline.pipeline import bytecode
from layerline.pipeline.bytecode import (
    MOST_FILES,
    OWN_STEP,
    TOGETHER,
    Bytecode,
    BytecodeTooLarge,
    Compiled,
    Modules,
    portions,
    split,
)
from layerline.pipeline.layer import Layer

if TYPE_CHECKING:
    from layerline.pipeline.environment import Environment


def modules(*small: str, large: tuple[str, ...] = ()) -> Modules:
    found = {name: {f"site/{name}": (1, 1000)} for name in small}
    return {**found, **{name: {f"site/{name}": (9, OWN_STEP)} for name in large}}


def test_a_large_wheel_has_a_step_of_its_own() -> None:
    found = list(portions(modules("six", "idna", large=("torch", "sympy"))))
    assert [each.wheels for each in found] == [("sympy",), ("torch",), ("idna", "six")]
    assert found[1].paths == ("site/torch",)
    assert found[2].paths == ("site/idna", "site/six")


def test_every_wheel_is_in_one_step_whatever_the_order() -> None:
    names = [f"wheel{number}" for number in range(100)]
    found = list(portions(modules(*names)))
    assert sorted(name for each in found for name in each.wheels) == sorted(names)
    assert len(found) > len(names) // (2 * TOGETHER)
    assert list(portions(modules(*reversed(names)))) == found


def test_a_new_wheel_changes_the_step_that_it_is_in_and_no_other() -> None:
    names = [f"wheel{number}" for number in range(40)]
    before = set(portions(modules(*names)))
    after = set(portions(modules(*names, "another")))
    assert len(before - after) <= 1
    assert len(after - before) == 1


def test_a_layer_without_modules_has_no_step() -> None:
    assert list(portions({})) == []


def test_a_wheel_of_many_files_has_several_steps() -> None:
    """An engine does not read the content of a directory of any size; ours of 4096 entries."""
    paths = {f"site/plotly/{number}": (MOST_FILES // 2, OWN_STEP) for number in range(5)}
    found = list(portions({"plotly": paths, "six": {"site/six.py": (1, 10)}}))
    assert [each.wheels for each in found] == [("plotly",)] * 3 + [("six",)]
    assert [path for each in found[:3] for path in each.paths] == sorted(paths)


def test_a_part_ends_where_the_next_step_would_exceed_the_limit() -> None:
    sizes = [400_000, 600_000, 1, 999_999, 1]
    assert split("abcde", sizes, 1, layer="core") == [["a", "b"], ["c", "d"], ["e"]]
    assert split("", [], 1, layer="core") == []


def test_a_step_that_is_larger_than_a_layer_may_be_is_refused() -> None:
    with pytest.raises(BytecodeTooLarge, match=r"layer core .* bytecode = false"):
        split("a", [1_000_001], 1, layer="core")


NOWHERE = cast("Environment", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known(Bytecode):
    """Bytecode that is known once an event is set."""

    environment: Environment = NOWHERE
    event: anyio.Event = field(default_factory=anyio.Event)

    async def _compile(self, layer: Layer) -> Compiled:
        await self.event.wait()
        return {"files": len(layer.pins)}


LAYER = Layer(name="core", groups=(), pins=(), imported=(), needs=frozenset())


async def test_what_comes_next_is_done_while_a_layer_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bytecode, "CACHED_SECONDS", 0.01)
    known = Known()

    async def meanwhile() -> None:
        known.event.set()

    assert await known.compile(LAYER, meanwhile) == {"files": 0}


async def test_nothing_is_asked_for_a_layer_that_was_compiled_before() -> None:
    known = Known()
    known.event.set()

    async def meanwhile() -> None:
        pytest.fail("it is in the way of what is asked next")

    assert await known.compile(LAYER, meanwhile) == {"files": 0}
