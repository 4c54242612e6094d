"""Smells in Dockerfiles that cause the known failures of builds with large packages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.dockerfile import Dockerfile, Instruction
    from layerline.doctor.subject import Subject

_MADE_AT_RUN_TIME = re.compile(
    r"(?:outputs?|runs|mlruns|wandb|lightning_logs|checkpoints|logs|multirun|data|datasets)(?:/.*)?"
)
_INSTALLERS = {
    "apt": re.compile(r"\b(?:apt|apt-get)\s+(?:-\S+\s+)*(?:install|upgrade)\b"),
    "uv": re.compile(r"\buv\s+(?:pip\s+)?(?:install|sync|add)\b"),
    "pip": re.compile(r"(?<!uv )\bpip[\d.]*\s+(?:-\S+\s+)*(?:install|download|wheel)\b"),
    "conda": re.compile(r"\b(?:conda|mamba|micromamba)\s+(?:\S+\s+)*?install\b"),
    "npm": re.compile(r"\bnpm\s+(?:ci|install)\b"),
}


def check_copied_outputs(subject: Subject) -> Iterator[Observation]:
    """Data and outputs change with every run, and are large."""
    for dockerfile in _all(subject):
        for instruction, source in dockerfile.sources:
            if _MADE_AT_RUN_TIME.fullmatch(source):
                folder = source.split("/", 1)[0]
                yield _observe(
                    dockerfile,
                    instruction,
                    f"copies {source}, which is data or made at run time",
                    f"mount it when the container runs, --volume ./{folder}:/workspace/{folder}",
                )


def check_missing_cache(subject: Subject) -> Iterator[Observation]:
    """An installer without a cache mount downloads everything again after any change."""
    for dockerfile, instruction, installer in _installs(subject):
        caches = [mount for mount in instruction.mounts if mount.get("type") == "cache"]
        if installer in ("pip", "uv", "conda") and not caches:
            target = {"pip": "/root/.cache/pip", "uv": "/root/.cache/uv"}.get(
                installer, "/opt/conda/pkgs"
            )
            yield _observe(
                dockerfile,
                instruction,
                f"runs {installer} without a cache mount",
                f"RUN --mount=type=cache,id={installer}-v1,target={target} …",
            )
        unnamed = [mount.get("target", "") for mount in caches if not mount.get("id")]
        if unnamed:
            yield _observe(
                dockerfile,
                instruction,
                f"has a cache mount without an id: {', '.join(unnamed)}",
                f"RUN --mount=type=cache,id={installer}-v1,target={unnamed[0]} …",
                severity=Severity.INFO,
                impact="Every project on this builder that mounts the same path shares the cache.",
            )


def check_shared_cache(subject: Subject) -> Iterator[Observation]:
    """Two installers that write one cache at once damage it; pip and uv do not share a format."""
    users: dict[str, dict[str, str]] = {}
    for dockerfile, instruction, installer in _installs(subject):
        for mount in instruction.mounts:
            name = mount.get("id") or mount.get("target", "")
            if mount.get("type") == "cache" and mount.get("sharing", "shared") == "shared":
                where = f"{dockerfile.path}:{instruction.line}"
                users.setdefault(name, {}).setdefault(installer, where)
    for name, found in users.items():
        if len(found) > 1:
            who = ", ".join(f"{installer} ({where})" for installer, where in found.items())
            yield Observation(
                f"one cache, {name}, is used by {who}",
                fix="Give each its own: "
                + " and ".join(f"--mount=type=cache,id={each}-v1,…" for each in found)
                + ", with sharing=locked.",
                facts={"id": name, "users": found},
            )


def check_apt_lists(subject: Subject) -> Iterator[Observation]:
    """Package lists that stay in a layer are dead weight, and stale for the next install."""
    for dockerfile, instruction, installer in _installs(subject):
        mounted = any(
            mount.get("target", "").startswith("/var/lib/apt") for mount in instruction.mounts
        )
        removed = "/var/lib/apt/lists" in instruction.text and "rm " in instruction.text
        if installer == "apt" and not mounted and not removed:
            yield _observe(
                dockerfile,
                instruction,
                "leaves the lists of apt in the layer",
                "RUN apt-get update && apt-get install … && rm -rf /var/lib/apt/lists/*",
            )


def check_apt_update(subject: Subject) -> Iterator[Observation]:
    """An update of its own is cached: months later the install finds packages that are gone."""
    for dockerfile in _all(subject):
        for each in dockerfile.instructions:
            update = re.search(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b", each.text)
            if each.keyword == "RUN" and update and not _INSTALLERS["apt"].search(each.text):
                yield _observe(
                    dockerfile,
                    each,
                    "runs apt-get update without installing",
                    "RUN apt-get update && apt-get install …",
                )


def check_pip_hashes(subject: Subject) -> Iterator[Observation]:
    """Without a lock, the same Dockerfile gives another image every day."""
    for dockerfile, instruction, installer in _installs(subject):
        text = instruction.text
        locked = "--require-hashes" in text or re.search(
            r"\buv\s+sync\b.*(--locked|--frozen)", text
        )
        local = re.search(r"install\s+(?:-\S+\s+)*(?:--no-deps\s+)?(?:-e\s+)?\.(?:\s|$)", text)
        if installer in ("pip", "uv") and not locked and not local:
            yield _observe(
                dockerfile,
                instruction,
                f"installs with {installer} without hashes",
                "lock with `uv pip compile --generate-hashes requirements.in -o requirements.txt`, "
                "then RUN … install --require-hashes -r requirements.txt",
            )


def _observe(
    dockerfile: Dockerfile,
    instruction: Instruction,
    what: str,
    instead: str,
    *,
    severity: Severity | None = None,
    impact: str | None = None,
) -> Observation:
    return Observation(
        f"{dockerfile.path}:{instruction.line} {what}",
        severity=severity,
        impact=impact,
        fix=f"Instead: {instead}",
        facts={"dockerfile": dockerfile.path, "line": instruction.line},
    )


def _all(subject: Subject) -> tuple[Dockerfile, ...]:
    if not subject.dockerfiles:
        message = "the project has no Dockerfile"
        raise NotApplicable(message)
    return subject.dockerfiles


def _installs(subject: Subject) -> Iterator[tuple[Dockerfile, Instruction, str]]:
    for dockerfile in _all(subject):
        for each in dockerfile.instructions:
            for installer, pattern in _INSTALLERS.items():
                if each.keyword == "RUN" and pattern.search(each.text):
                    yield dockerfile, each, installer


CHECKS = (
    Check(
        name="dockerfile-outputs",
        title="no data or outputs are copied",
        severity=Severity.HIGH,
        impact="The build fails where they do not exist yet, and every run changes the layer.",
        fix="Create the directory in the image, and mount the data when the container runs.",
        run=check_copied_outputs,
    ),
    Check(
        name="dockerfile-shared-cache",
        title="each installer has its own cache",
        severity=Severity.HIGH,
        impact="Installers that write one cache at the same time damage it; the build then fails "
        "until the cache is pruned.",
        fix="Give each installer an id of its own, with sharing=locked.",
        run=check_shared_cache,
    ),
    Check(
        name="dockerfile-cache",
        title="installers have cache mounts",
        severity=Severity.MEDIUM,
        impact="Gigabytes are downloaded again after every change of the step.",
        fix="Mount a cache with an id of its own.",
        run=check_missing_cache,
    ),
    Check(
        name="dockerfile-apt-lists",
        title="no package lists in layers",
        severity=Severity.MEDIUM,
        impact="20 to 50 MB in the image for nothing.",
        fix="Remove the lists in the same step, or mount a cache on /var/lib/apt.",
        run=check_apt_lists,
    ),
    Check(
        name="dockerfile-apt-update",
        title="apt-get update and install are one step",
        severity=Severity.MEDIUM,
        impact="The cached update is stale; installs end with '404 Not Found'.",
        fix="Run both in one step.",
        run=check_apt_update,
    ),
    Check(
        name="dockerfile-pip-hashes",
        title="Python packages are locked with hashes",
        severity=Severity.MEDIUM,
        impact="The image changes without a change of yours, and torch or JAX replace each other's "
        "CUDA libraries.",
        fix="Lock all requirements together, with hashes.",
        run=check_pip_hashes,
    ),
)
