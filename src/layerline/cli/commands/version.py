"""`version`: of Layerline, and of the Dagger API that it speaks."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from layerline import __version__
from layerline.cli.commands.flag_parsing import parse_flags
from layerline.cli.flags import FlagSet
from layerline.engine.module.source import ENGINE_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console


def version(console: Console, argv: Sequence[str]) -> int:
    """Print one line."""
    parse_flags(FlagSet((console.flags,)), argv, f"{console.program} version")
    machine = f"{platform.system().lower()}/{platform.machine()}"
    console.print(f"{console.program} {__version__} (Dagger API {ENGINE_VERSION}) {machine}\n")
    return 0
