"""The functions that every project has, as the SDK describes them."""

from __future__ import annotations

from layerline.pipeline.functions import PipelineFunctions


def test_what_acts_on_a_registry_is_never_remembered() -> None:
    """`cache: never` of Dagger's functions: a tag may have moved since an earlier call."""
    definition = vars(PipelineFunctions.publish)["__dagger_function__"]
    assert definition.cache == "never"
