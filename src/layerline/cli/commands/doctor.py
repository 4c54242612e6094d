"""`doctor`: what is wrong with this machine. Nothing of the engine is imported for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.doctor.main import run_doctor
from layerline.settings import python

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console


def doctor(console: Console, argv: Sequence[str]) -> int:
    """Run the doctor; it reads its own flags."""
    return run_doctor(
        argv,
        console.settings.environ,
        program=f"{console.program} doctor",
        tool=(python(), "-I", "-m", "layerline"),
    )
