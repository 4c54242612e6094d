"""The GPU driver and container toolkit, against the CUDA that the project's targets are for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from layerline.doctor.finding import Check, NotApplicable, Observation, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

# The first driver of each CUDA major version; newer ones run all of its minor versions.
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
_CUDA = re.compile(r"^cuda\s*=\s*[\"'](\d+)", re.MULTILINE)
_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+)\.([\d.]+)")


def check_gpu_driver(subject: Subject) -> Iterator[Observation]:
    """Building needs no GPU; running what was built does."""
    cuda = _required_cuda(subject)
    driver = _driver(subject)
    if cuda is None:
        message = "no target of this project is for CUDA"
        raise NotApplicable(message)
    facts = {"cuda": cuda, "driver": driver}
    if driver is None:
        yield Observation(
            f"no NVIDIA driver is loaded; the images are for CUDA {cuda}",
            ("nvidia-smi",),
            severity=Severity.INFO,
            impact="Images build and are checked here, but run only on a machine with a GPU.",
            fix="Nothing, unless this machine has a GPU: then install its driver.",
            facts=facts,
        )
    elif driver < _OLDEST_DRIVER.get(cuda, 0):
        oldest = _OLDEST_DRIVER[cuda]
        commands = (f"sudo apt-get install --yes nvidia-driver-{oldest}", "nvidia-smi")
        yield Observation(f"driver {driver} is too old for CUDA {cuda}", commands, facts=facts)


def check_gpu_toolkit(subject: Subject) -> Iterator[Observation]:
    """Docker and podman reach the GPU through it."""
    if _driver(subject) is None:
        message = "no NVIDIA driver is loaded"
        raise NotApplicable(message)
    if subject.find("nvidia-ctk") is None and subject.find("nvidia-container-runtime") is None:
        commands = (
            "sudo apt-get install --yes nvidia-container-toolkit",
            "sudo nvidia-ctk runtime configure --runtime=docker",
        )
        yield Observation("the NVIDIA container toolkit is not installed", commands)


def _required_cuda(subject: Subject) -> int | None:
    """The newest CUDA major version that a target is for, or a lock is named for."""
    names = [path.stem for path in (subject.project / "locks").glob("cu*.txt")]
    majors = [
        int(found[1]) for found in (re.fullmatch(r"cu(\d\d)\d*", name) for name in names) if found
    ]
    text = subject.text(subject.project / "layerline.toml")
    majors += [int(found) for found in _CUDA.findall(text)]
    return max(majors, default=None)


def _driver(subject: Subject) -> int | None:
    path = subject.proc / "driver/nvidia/version"
    found = _VERSION.search(path.read_text()) if path.exists() else None
    return int(found[1]) if found else None


CHECKS = (
    Check(
        name="gpu-driver",
        title="the GPU driver fits the targets",
        severity=Severity.HIGH,
        impact="Programs in the image see no GPU, or silently use the CPU.",
        fix="Install a newer driver, or build a target for an older CUDA.",
        run=check_gpu_driver,
    ),
    Check(
        name="gpu-toolkit",
        title="containers can reach the GPU",
        severity=Severity.MEDIUM,
        impact="`docker run --gpus` fails.",
        fix="Install the toolkit and configure docker for it.",
        run=check_gpu_toolkit,
    ),
)
