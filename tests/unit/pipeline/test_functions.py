"""The functions that every project has, as the SDK describes them."""

from __future__ import annotations

import pytest

from layerline.pipeline.functions import PipelineFunctions


@pytest.mark.parametrize("name", ["publish", "lock"])
def test_what_acts_on_a_registry_or_asks_one_is_never_remembered(name: str) -> None:
    """`cache: never` of Dagger's functions: a tag or an index may have moved since."""
    definition = vars(vars(PipelineFunctions)[name])["__dagger_function__"]
    assert definition.cache == "never"
