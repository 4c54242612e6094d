"""What a build would run and why, compared with an earlier one; nothing is started for it.

The earlier build is known by its evidence, as the function of that name gives it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ci.modules.layer import Layer, Partition
from ci.modules.probe import Evidence

MEGABYTE = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of an image. `why` says what makes it run again; empty where nothing does.

    `size` in bytes and `seconds` are those of the earlier build, None where it had no such step.
    """

    name: str
    why: str
    size: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of an image in their order."""

    image: str
    steps: tuple[Step, ...]

    def text(self) -> str:
        """The plan for a reader."""
        running = [step for step in self.steps if step.why]
        lines = [
            f"{'run ' if step.why else 'keep'}  {step.name}{': ' + step.why if step.why else ''}"
            for step in self.steps
        ]
        if not running:
            return "\n".join([*lines, f"Nothing of {self.image} would run."]) + "\n"
        size = sum(step.size or 0 for step in running)
        seconds = sum(step.seconds or 0 for step in running)
        unknown = [step.name for step in running if step.size is None]
        said = [f"expected: {size / MEGABYTE:.0f} MB more on the disk, less to download"]
        said += [f"{seconds:.0f} s of work" if seconds else "no times known"]
        said += [f"nothing known of {', '.join(unknown)}"] if unknown else []
        return "\n".join([*lines, "; ".join(said)]) + "\n"


def inputs(base: object, installer: str, arguments: Sequence[str]) -> dict[str, str]:
    """What every step of a target stands on, as an earlier build remembers it."""
    return {
        "base": _digest(repr(base)),
        "installer": _digest(installer),
        "arguments": " ".join(arguments),
    }


def of_image(
    image: str,
    partition: Partition,
    groups: Sequence[str],
    *,
    now: Mapping[str, str],
    earlier: Sequence[Evidence],
    source: str,
) -> Plan:
    """The plan of an image. `source` says what changed in the source; empty if nothing did."""
    known = {each["subject"]: each for each in earlier}
    whole = known.get(image, {})
    ground = _ground(now, whole.get("inputs"))
    steps = [Step(name="base", why=ground, size=None if ground else 0)]
    for layer in partition.of(groups):
        before = known.get(layer.name)
        steps.append(_layer_step(layer, ground, before))
    rest = "; ".join(filter(None, [source, "layers" if any(step.why for step in steps) else ""]))
    seconds = sum(one.get("seconds", 0.0) for one in whole.get("probes", ()))
    steps.append(Step(name=f"{image} and its probes", why=rest, size=0, seconds=seconds))
    return Plan(image=image, steps=tuple(steps))


def _ground(now: Mapping[str, str], before: Mapping[str, str] | None) -> str:
    """What changed under every layer."""
    if before is None:
        return "no earlier build is known"
    changed = [name for name, value in now.items() if before.get(name) != value]
    return f"changed: {', '.join(changed)}" if changed else ""


def _layer_step(layer: Layer, ground: str, before: Evidence | None) -> Step:
    if before is None:
        return Step(name=layer.name, why="the earlier build has no such layer")
    return Step(
        name=layer.name,
        why=ground or changes(layer, before["packages"]) or _hashes(layer, before),
        size=sum(int(package["bytes"]) for package in before["packages"]),
        seconds=before.get("seconds"),
    )


def changes(layer: Layer, packages: Sequence[Mapping[str, Any]]) -> str:
    """Which packages of a layer came, went or have another version in the lock."""
    old = {str(each["name"]): str(each["version"]) for each in packages}
    new = {pin.name: pin.version for pin in layer.pins}
    return ", ".join(
        f"{name} {old.get(name, 'new')} -> {new.get(name, 'gone')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _hashes(layer: Layer, before: Evidence) -> str:
    return "" if before.get("lock") == lock_digest(layer) else "other hashes in the lock"


def lock_digest(layer: Layer) -> str:
    """The identity of a layer's lines of the lock."""
    return _digest(layer.requirements)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
