"""docker's build cache: its size, and builds that it recorded as failed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity
from layerline.doctor.subject import GB
from layerline.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SHOWN = 3
REPAIR = "build-cache"


def check_build_cache(subject: Subject) -> Iterator[Observation]:
    """As `docker system df` says; what is in use cannot be pruned."""
    subject.docker.require()
    rows = subject.run_program_json("docker", "system", "df", "--format", "{{json .}}")
    for row in rows:
        if row.get("Type") != "Build Cache":
            continue
        size, free = _bytes(str(row.get("Size"))), _bytes(str(row.get("Reclaimable")))
        if size > subject.limits.build_cache:
            yield Observation(
                f"docker's build cache has {size / GB:.1f} GB, {free / GB:.1f} GB of it unused",
                ("docker builder prune --force --keep-storage 10GB",),
                repair=REPAIR,
                facts={"size": size, "reclaimable": free},
            )


def check_failed_records(subject: Subject) -> Iterator[Observation]:
    """Errors of the cache itself in the builder's history; failed steps of users are not faults."""
    subject.docker.require()
    try:
        rows = subject.run_program_json(
            "docker", "buildx", "history", "ls", "--format", "{{json .}}"
        )
    except (CommandFailed, ValueError) as exc:
        message = "docker keeps no history of builds here: no buildx, or an old one"
        raise NotApplicable(message) from exc
    failed = [row for row in rows if str(row.get("status") or row.get("Status")).lower() == "error"]
    damaged = [row for row in failed if _is_damage(str(row))]
    if damaged:
        names = ", ".join(str(row.get("ref") or row.get("Ref")) for row in damaged[:_SHOWN])
        yield Observation(
            f"{len(damaged)} builds failed because of the cache itself: {names}",
            ("docker builder prune --force --all",),
            repair=REPAIR,
            facts={"records": len(damaged)},
        )


def _is_damage(text: str) -> bool:
    pattern = (
        r"does not exist|failed to compute cache key|blob not found|input/output error|corrupt"
    )
    return re.search(pattern, text, re.IGNORECASE) is not None


def _bytes(text: str) -> int:
    found = re.match(r"\s*([\d.]+)\s*([kMGT]?B)", text, re.IGNORECASE)
    return int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0


CHECKS = (
    Check(
        name="build-cache",
        title="docker's build cache is of a sane size",
        severity=Severity.MEDIUM,
        impact="It fills the disk, and then everything that writes fails.",
        fix="Prune what has not been used for long.",
        run=check_build_cache,
        waits=True,
    ),
    Check(
        name="build-cache-records",
        title="docker's build cache is intact",
        severity=Severity.HIGH,
        impact="Builds fail again until the damaged records are gone.",
        fix="Prune the cache; the next build is a cold one.",
        run=check_failed_records,
        waits=True,
    ),
)
