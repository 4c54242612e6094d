"""The LICENSE of a new module."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import layerline
from layerline.engine.module.source import check_inside
from layerline.errors import UsageError

if TYPE_CHECKING:
    from layerline.cli.console import Console

DEFAULT = "Apache-2.0"
_NAMES = ("LICENSE", "LICENCE", "COPYING")


def check_license(name: str, path: str) -> None:
    """Refuse a license whose text is not here."""
    if name not in ("", DEFAULT):
        message = (
            f"unknown license '{name}': only {DEFAULT} can be written; give an empty --license and "
            "add the text of another one yourself"
        )
        raise UsageError(message, usage=path)


def write_license(console: Console, root: Path, context: Path, name: str | None) -> None:
    """Write a license into a module; without a name, where none is found up to its repository."""
    if name == "":
        return
    if name is None:
        above = [root, *(p for p in root.parents if p.is_relative_to(context))]
        if any(_has_license(place) for place in above):
            return
        console.info(
            f"no LICENSE file found: wrote that of {DEFAULT}; change or remove it, or choose with "
            "--license"
        )
    check_inside(root / "LICENSE", context, "LICENSE")
    (root / "LICENSE").write_text(_text())


def _has_license(place: Path) -> bool:
    return any(path.stem.upper() in _NAMES for path in place.iterdir() if path.is_file())


def _text() -> str:
    """The license of Layerline itself: of its checkout, or of its distribution."""
    own = Path(layerline.__file__).parents[2] / "LICENSE"
    if own.is_file():
        return own.read_text()
    text = importlib.metadata.distribution("layerline").read_text("licenses/LICENSE")
    assert text is not None
    return text
