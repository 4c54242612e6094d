"""The size of the build context, and what would make it small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.doctor.checks.ignore import REPAIR
from layerline.doctor.finding import Check, Observation, Severity
from layerline.doctor.ignore import copied_sources, hides
from layerline.doctor.subject import MB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.build_context import Part
    from layerline.doctor.subject import Subject

_SHOWN = 5
_WORTH_NAMING = 0.05


def check_context_size(subject: Subject) -> Iterator[Observation]:
    """100 MB are more than any source tree; what is above that is data."""
    context = subject.context
    if context.size <= subject.limits.context:
        return
    ways = largest_parts(subject)
    parts = ", ".join(f"{part.path} {part.size / MB:.0f} MB" for part in ways[:_SHOWN])
    name = subject.ignore.path.name
    yield Observation(
        f"{context.size / MB:.0f} MB in {context.files} files; largest: {parts}",
        tuple(f"echo '{pattern_for(part)}' >> {name}" for part in ways[:_SHOWN]),
        repair=REPAIR,
        facts={
            "size": context.size,
            "files": context.files,
            "parts": [{"path": p.path, "size": p.size, "ignore": pattern_for(p)} for p in ways],
        },
    )


def largest_parts(subject: Subject) -> list[Part]:
    """The folders and single files whose absence would help, largest first, none inside another."""
    copied = copied_sources(subject.dockerfiles)
    context = subject.context
    chosen: list[Part] = []
    for part in sorted([*context.folders, *context.largest], key=lambda part: -part.size):
        above = part.path.rpartition("/")[0]
        inside = any((part.path + "/").startswith(other.path + "/") for other in chosen)
        covers = not inside and any(other.path.startswith(part.path + "/") for other in chosen)
        small = part.size < context.size * _WORTH_NAMING
        if inside or covers or small or hides(part.path, copied) or _is_copied_from(part, copied):
            continue
        if above and any(o.path == above for o in context.folders if o.size == part.size):
            continue
        chosen.append(part)
    return chosen


def pattern_for(part: Part) -> str:
    """The line of an ignore file that drops the part and nothing else."""
    special = "\\*?[]^!#"
    return "".join(f"\\{char}" if char in special else char for char in part.path)


def _is_copied_from(part: Part, copied: list[str]) -> bool:
    return any(source.startswith(part.path + "/") for source in copied)


def check_unreadable(subject: Subject) -> Iterator[Observation]:
    """Docker stops at the first folder that it may not read."""
    folders = sorted(subject.context.unreadable)
    if folders:
        yield Observation(
            f"may not be read: {', '.join(folders[:_SHOWN])}",
            tuple(f"echo '{path}' >> {subject.ignore.path.name}" for path in folders[:_SHOWN]),
            facts={"paths": folders},
        )


CHECKS = (
    Check(
        name="context-size",
        title="the build context is small",
        severity=Severity.HIGH,
        impact="Every build reads, hashes and copies all of it before the first step.",
        fix="Leave out what the image does not need; data is mounted when the container runs.",
        run=check_context_size,
    ),
    Check(
        name="context-readable",
        title="the build context can be read",
        severity=Severity.MEDIUM,
        impact="docker refuses to build: 'error checking context: permission denied'.",
        fix="Leave the folders out, or make them readable.",
        run=check_unreadable,
    ),
)
