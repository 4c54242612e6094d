"""For modules that depend on none in a git repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerline.engine.module.git_addresses import GitReference
    from layerline.engine.module.source import ModuleConfig


def no_fetch(reference: GitReference, pin: str) -> ModuleConfig:
    """Fail: nothing is to be fetched."""
    message = f"{reference.text} at {pin} is fetched"
    raise AssertionError(message)
