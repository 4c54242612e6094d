"""Layerline's own store, by its own command."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from layerline import command
from layerline.doctor.finding import Check, NotApplicable, Observation, Severity
from layerline.user_directories import home_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

_PATIENCE = 30.0


def check_store(subject: Subject) -> Iterator[Observation]:
    """Everything but the blobs' bytes, which `--deep` reads."""
    if not os.access(subject.store / "version", os.F_OK):
        message = f"{subject.store} does not exist"
        raise NotApplicable(message)
    if not subject.tool:
        message = "Layerline is not installed yet"
        raise NotApplicable(message)
    argv = [*subject.tool, "store", "check", "--json"]
    env = {"HOME": str(home_directory(subject.environ)), "LAYERLINE_STORE": str(subject.store)}
    done = command.run(argv, env=env, timeout=_PATIENCE, expect=None)
    try:
        problems = json.loads(done.stdout)["problems"]
    except (ValueError, KeyError):
        text = done.stderr.decode(errors="replace").strip()
        yield Observation(
            f"the store at {subject.store} cannot be opened: {text}", severity=Severity.HIGH
        )
        return
    for problem in problems:
        commands = ("layerline store check --deep --repair",)
        text = f"{problem['kind']} {problem['name']}: {problem['what']}"
        yield Observation(text, commands, facts=problem)


CHECKS = (
    Check(
        name="store",
        title="the store has no problems",
        severity=Severity.MEDIUM,
        impact="Damaged entries take space until they are recreated.",
        fix="Verify the store and remove what is damaged.",
        run=check_store,
        waits=True,
    ),
)
