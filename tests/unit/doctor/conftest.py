"""A host made of files, and a project on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from layerline.doctor.catalogue import CHECKS
from layerline.doctor.finding import CheckResult
from layerline.doctor.runner import run_checks
from layerline.doctor.subject import Subject

if TYPE_CHECKING:
    from pathlib import Path

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw 0 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The files that a check reads. `look` makes one check; more fields replace the subject's."""

    project: Path
    proc: Path
    etc: Path
    programs: Path
    environ: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> None:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def kernel(self, name: str, text: str) -> None:
        path = self.proc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def program(self, name: str, script: str = "exit 0") -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def subject(self, **fields: Any) -> Subject:  # noqa: ANN401  any field of a subject
        made = Subject.of(self.project, self.environ)
        return replace(made, proc=self.proc, etc=self.etc, **fields)

    def look(self, check: str, **fields: Any) -> CheckResult:  # noqa: ANN401  any field of a subject
        [wanted] = [each for each in CHECKS if each.name == check]
        [result] = run_checks(self.subject(**fields), [wanted])
        return result


Look = Callable[..., CheckResult]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A healthy Linux machine with an empty project and no programs."""
    folders = [tmp_path / name for name in ("project", "proc", "etc", "programs")]
    for folder in folders:
        folder.mkdir()
    project, proc, etc, programs = folders
    environ = {"HOME": str(tmp_path / "home"), "PATH": str(programs)}
    made = Host(project=project, proc=proc, etc=etc, programs=programs, environ=environ)
    made.kernel("mounts", MOUNTS)
    made.kernel("sys/kernel/osrelease", "6.8.0-generic\n")
    made.kernel("sys/kernel/seccomp/actions_avail", "kill_process allow\n")
    return made
