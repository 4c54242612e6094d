"""What one step may use of the machine, as the user sets it.

Only the user's own settings file and environment set limits: a repository that could would lift
them for its own steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.errors import UsageError
from layerline.quantities import parse_size
from layerline.settings_table import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

UNLIMITED = (1 << 63) - 1
_FEWEST_BYTES = 32 << 20  # what the OCI runtime itself needs to start a program
_FEWEST_PROCESSES = 32
_FEWEST_CPUS = 0.01  # the kernel's shortest quota, 1 ms, of its period of 100 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one step; None is the default, which the engine derives from the machine.

    `memory` is in bytes, swap included. `processes` counts threads too. `cpus` is in CPUs' time;
    none by default. UNLIMITED lifts a limit.
    """

    memory: int | None = None
    processes: int | None = None
    cpus: float | None = None

    @classmethod
    def read(
        cls, environ: Mapping[str, str], document: Mapping[str, object], config: Path
    ) -> Limits:
        """Read the variables, and `[limits]` of the settings file; a variable wins."""
        example = "e.g. [limits] memory = '8GB'"
        table = read_table(document, "limits", _PARSERS, config, example=example)
        found: dict[str, float] = {}
        for key, parse in _PARSERS.items():
            variable = variable_of(key)
            text = environ.get(variable) or table.get(key)
            if text is None:
                continue
            origin = variable if environ.get(variable) else f"{key} in [limits] of {config}"
            try:
                found[key] = UNLIMITED if text == "unlimited" else parse(str(text))
            except ValueError as exc:
                message = f"invalid {origin}: {exc}"
                raise UsageError(message) from exc
        return cls(
            memory=_integer(found.get("memory")),
            processes=_integer(found.get("processes")),
            cpus=found.get("cpus"),
        )


def variable_of(key: str) -> str:
    """The environment variable of a limit."""
    return f"LAYERLINE_{key.upper()}"


def _integer(value: float | None) -> int | None:
    return None if value is None else int(value)


def _memory(text: str) -> float:
    size = parse_size(text)
    if size < _FEWEST_BYTES:
        message = f"{text!r} is too little to start a program: use at least 32MiB"
        raise ValueError(message)
    return size


def _processes(text: str) -> float:
    if not text.isdecimal() or int(text) < _FEWEST_PROCESSES:
        message = f"{text!r}: use a number from {_FEWEST_PROCESSES}, or 'unlimited'"
        raise ValueError(message)
    return int(text)


def _cpus(text: str) -> float:
    try:
        cpus = float(text)
    except ValueError:
        cpus = 0.0
    if not _FEWEST_CPUS <= cpus < UNLIMITED:
        message = f"{text!r}: use a number of CPUs, e.g. 1.5, or 'unlimited'"
        raise ValueError(message)
    return cpus


_PARSERS: dict[str, Callable[[str], float]] = {
    "memory": _memory,
    "processes": _processes,
    "cpus": _cpus,
}
