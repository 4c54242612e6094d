"""A query has one converter however long its chain is, and objects have that of their context."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, cast

import dagger
from dagger.client import _core
from dagger.client._core import Arg, Context

from layerline.engine.module.bindings import with_late_converters
from layerline.resources.late_converters import Converter, made_late

if TYPE_CHECKING:
    import pytest


class Counting:
    """Makes the SDK's own converters and keeps what they are for."""

    def __init__(self) -> None:
        self.made: list[object] = []

    def __call__(self, context: object) -> Converter:
        self.made.append(context)
        converter: Converter = _core.make_converter(cast("Context", context))
        return converter


def test_what_is_sent_and_plain_answers_share_one_converter() -> None:
    make = Counting()
    late = made_late(make)
    contexts = [object() for _ in range(20)]
    assert [late(each).unstructure({"a": 1}) for each in contexts] == [{"a": 1}] * 20
    assert late(contexts[0]).structure("text", str) == "text"
    assert late(contexts[0]).structure(True, bool) is True
    assert make.made == [None]


def test_what_may_hold_objects_has_a_converter_of_its_context() -> None:
    make = Counting()
    late = made_late(make)
    context = object()
    assert late(context).structure(["a", "b"], list[str]) == ["a", "b"]
    assert make.made == [context]


def test_the_sdk_with_it_builds_the_same_query(monkeypatch: pytest.MonkeyPatch) -> None:
    adapted = types.ModuleType("dagger.client.adapted")
    adapted.__package__ = "dagger.client"
    monkeypatch.setitem(sys.modules, adapted.__name__, adapted)  # dataclasses look there
    source = with_late_converters(Path(_core.__file__).read_text())
    exec(compile(source, "adapted.py", "exec"), vars(adapted))
    sent = {"path": "/x", "sharing": "LOCKED"}
    args = [Arg("path", "/x"), Arg("sharing", dagger.CacheSharingMode.LOCKED), Arg("none", 1, 1)]
    theirs, ours = (
        make().select("Query", "container", args) for make in (Context, adapted.Context)
    )
    assert ours.selections[0].args == theirs.selections[0].args == sent
