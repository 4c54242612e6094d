"""The names that the engine offers are found where the table says, and nothing else is."""

from __future__ import annotations

import sys

import pytest

from layerline import command, engine


@pytest.mark.parametrize("name", engine.__all__)
def test_each_name_that_is_offered_can_be_imported(name: str) -> None:
    assert getattr(engine, name) is not None


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        engine.nothing  # noqa: B018 - the access is what is tested


def test_importing_the_engine_imports_none_of_its_parts() -> None:
    code = "import layerline.engine; print([m for m in sys.modules if m.startswith('layer')])"
    argv = [sys.executable, "-c", f"import sys; sys.path = {sys.path!r}; {code}"]
    assert command.run(argv).stdout.split() == [b"['layerline',", b"'layerline.engine']"]
