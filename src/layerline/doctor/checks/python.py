"""Python itself: what the launcher needs to make its environment."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, Observation, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

_OLDEST = (3, 11)
_NEWEST = (3, 14)


def check_python(subject: Subject) -> Iterator[Observation]:
    """One Python that is new enough, under a name that the launcher tries."""
    names = [f"python3.{minor}" for minor in range(_OLDEST[1], _NEWEST[1] + 1)]
    if sys.version_info < _OLDEST and not any(map(subject.find, names)):
        version = ".".join(map(str, sys.version_info[:3]))
        commands = (
            "sudo apt-get install --yes python3.11 python3.11-venv",
            "uv python install 3.12",
        )
        yield Observation(
            f"the newest Python found is {version}", commands, facts={"version": version}
        )


def check_venv(subject: Subject) -> Iterator[Observation]:
    """Debian splits the module that makes environments from Python."""
    if subject.tool or importlib.util.find_spec("ensurepip") is not None:
        return
    commands = ("sudo apt-get install --yes python3-venv",)
    yield Observation(
        f"{sys.executable} cannot create virtual environments (no ensurepip)", commands
    )


CHECKS = (
    Check(
        name="python",
        title="Python is new enough",
        severity=Severity.HIGH,
        impact="Layerline needs Python 3.11 or newer; only its doctor runs on an older one.",
        fix="Install Python 3.11 or newer next to the present one.",
        run=check_python,
    ),
    Check(
        name="python-venv",
        title="Python can create environments",
        severity=Severity.HIGH,
        impact="The launcher cannot install Layerline.",
        fix="Install Python's venv module.",
        run=check_venv,
    ),
)
