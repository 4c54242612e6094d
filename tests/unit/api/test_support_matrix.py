"""The document of the API is what the code says."""

from __future__ import annotations

from pathlib import Path

from layerline.engine.api.support_matrix import document

DOCUMENT = Path(__file__).parents[3] / "docs" / "engine.md"


def test_the_document_is_made_from_the_resolvers() -> None:
    again = "python -m layerline.engine.api.support_matrix > docs/engine.md"
    assert DOCUMENT.read_text() == document(), f"make it again: PYTHONPATH=src {again}"


def test_types_that_are_only_handed_on_are_not_called_refused() -> None:
    _, _, refused = document().partition("## Types that are refused entirely")
    assert "`LLM`" in refused
    assert "`CacheVolume`" not in refused
    assert "`Socket`" not in refused
