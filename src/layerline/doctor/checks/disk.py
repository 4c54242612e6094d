"""Free space and inodes where a build writes, and what this project's builds will need."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity
from layerline.doctor.subject import GB, MB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

# Unpacked sizes of the wheels that matter, in MB; everything else counts as _OTHER.
_UNPACKED = {
    "jax-cuda13-pjrt": 280,
    "jaxlib": 330,
    "nvidia-cublas": 680,
    "nvidia-cudnn-cu13": 850,
    "nvidia-cufft": 280,
    "nvidia-cusolver": 320,
    "nvidia-cusparse": 350,
    "nvidia-nccl-cu13": 330,
    "opencv-python-headless": 160,
    "scipy": 110,
    "tensorflow": 1700,
    "torch": 1900,
    "triton": 480,
}
_OTHER = 12
_BASE_IMAGE = 400 * MB
_COPIES = 2.5  # the snapshot, its compressed blob, and the exported archive
# Enough of TOML for this: Python before 3.11 cannot read it.
_TARGET = re.compile(r"^\[targets\.([\w-]+)\]([^\[]*)", re.MULTILINE)
_ASKED = re.compile(r"\"([A-Za-z][\w.-]*)(?:\[[^\"]*\])?\s*(?:[<>=!~][^\"]*)?\"")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


@dataclass(frozen=True)
class Volume:
    """A file system with the uses that it has."""

    path: Path
    uses: tuple[str, ...]
    state: os.statvfs_result

    @property
    def free(self) -> int:
        """Bytes that an ordinary user may still write."""
        return self.state.f_bavail * self.state.f_frsize

    @property
    def label(self) -> str:
        """The path and its uses, for messages."""
        return f"{self.path} ({', '.join(self.uses)})"


def volumes(subject: Subject) -> list[Volume]:
    """The file systems of source, store, docker and temporary files, each once."""
    places = {"source": subject.project, "store": subject.store, "temporary files": _tmp(subject)}
    if subject.docker.root is not None:
        places["docker"] = subject.docker.root
    found: dict[int, Volume] = {}
    for use, path in places.items():
        there = _existing(path)
        device = there.stat().st_dev
        known = found.get(device)
        uses = (*known.uses, use) if known else (use,)
        found[device] = Volume(known.path if known else there, uses, os.statvfs(there))
    return list(found.values())


def check_disk_space(subject: Subject) -> Iterator[Observation]:
    """20 GB are what a build of a training image takes with its caches."""
    for volume in volumes(subject):
        enough = GB if volume.uses == ("temporary files",) else subject.limits.free
        if volume.free >= enough:
            continue
        full = volume.free < min(subject.limits.free_critical, enough)
        yield Observation(
            f"{volume.free / GB:.1f} GB free on {volume.label}; {enough / GB:.0f} GB recommended",
            _ways_to_free(volume),
            severity=Severity.CRITICAL if full else None,
            facts={"path": str(volume.path), "free": volume.free, "wanted": enough},
        )


def check_inodes(subject: Subject) -> Iterator[Observation]:
    """A disk can be full of files with most of its bytes free."""
    for volume in volumes(subject):
        total, free = volume.state.f_files, volume.state.f_favail
        if total and free < total * subject.limits.inodes_share:
            yield Observation(
                f"{free} of {total} inodes free on {volume.label}",
                (f"du --inodes -x -d 2 {shlex.quote(str(volume.path))} | sort -n | tail",),
                facts={"path": str(volume.path), "free": free, "total": total},
            )


def check_forecast(subject: Subject) -> Iterator[Observation]:
    """The space that the images take according to the project's locks."""
    needs = forecast_definition(subject.text(subject.project / "layerline.toml"))
    for path in sorted((subject.project / "locks").glob("*.txt")):
        needs[path.stem] = forecast(path.read_text(errors="replace"))
    if not needs:
        message = "the project has neither locks nor a layerline.toml to forecast from"
        raise NotApplicable(message)
    wanted = sum(needs.values())
    store = next(volume for volume in volumes(subject) if "store" in volume.uses)
    if store.free < wanted:
        parts = ", ".join(f"{name} {size / GB:.1f} GB" for name, size in needs.items())
        yield Observation(
            f"building {parts} takes about {wanted / GB:.1f} GB; {store.free / GB:.1f} GB are free "
            f"on {store.label}",
            _ways_to_free(store),
            facts={"targets": needs, "wanted": wanted, "free": store.free},
        )


def forecast(lock: str) -> int:
    """About how many bytes building and exporting the packages of a lock takes."""
    names = [name.lower().replace("_", "-") for name in _PIN.findall(lock)]
    cpu_only = not any(name.startswith("nvidia-") for name in names)
    sizes = dict(_UNPACKED, torch=700) if cpu_only else _UNPACKED
    unpacked = sum(sizes.get(name, _OTHER) for name in names) * MB
    return int((unpacked + _BASE_IMAGE) * _COPIES)


def forecast_definition(text: str) -> dict[str, int]:
    """The least that each target of a layerline.toml takes: what its groups require by name."""
    names = set(_ASKED.findall(text))
    pins = "".join(f"{name}==0\n" for name in sorted(names))
    cuda = "".join(f"{name}==0\n" for name in _UNPACKED if name.startswith("nvidia-"))
    needs = {}
    for target, table in _TARGET.findall(text):
        needs[target] = forecast(pins + cuda if "cuda" in table else pins)
    return needs


def _ways_to_free(volume: Volume) -> tuple[str, ...]:
    ways = [f"du -xh -d 2 {shlex.quote(str(volume.path))} 2>/dev/null | sort -h | tail"]
    if "store" in volume.uses:
        ways.append("layerline store prune --keep-storage 10GB")
    if "docker" in volume.uses:
        ways.append("docker builder prune --keep-storage 10GB")
    return tuple(ways)


def _tmp(subject: Subject) -> Path:
    return Path(subject.environ.get("TMPDIR") or "/tmp")


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if os.access(each, os.F_OK))


CHECKS = (
    Check(
        name="disk-space",
        title="enough space is free",
        severity=Severity.HIGH,
        impact="Builds fail near their end, and a full disk damages docker's build cache.",
        fix="Free some space, or point TMPDIR, LAYERLINE_STORE or docker's data-root elsewhere.",
        run=check_disk_space,
    ),
    Check(
        name="disk-inodes",
        title="enough inodes are free",
        severity=Severity.HIGH,
        impact="No file can be created although bytes are free: 'no space left on device'.",
        fix="Remove directories with many small files.",
        run=check_inodes,
    ),
    Check(
        name="disk-forecast",
        title="this project's images fit",
        severity=Severity.HIGH,
        impact="The build will stop when the disk is full.",
        fix="Free the missing space first, or build one target at a time and prune in between.",
        run=check_forecast,
    ),
)
