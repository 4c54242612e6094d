"""The joint resolution of all groups of a target, and who excludes whom where there is none."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import dagger

from layerline.pipeline.definition import Definition, builders, from_source
from layerline.pipeline.environment import PYTHON, UV, UV_CACHE, Environment, program
from layerline.pipeline.layer import INSTALLER

_LOCK = "/mnt/lock.txt"


class Conflict(ValueError):
    """The groups of a target cannot be resolved together, or not at all."""


async def resolved(
    environment: Environment,
    definition: Definition,
    *,
    current: str,
    upgrade: Sequence[str],
) -> dagger.File:
    """The lock of a target, as near to the current one as its requirements allow."""
    target = environment.target
    groups = definition.groups_of(target)
    asked = {
        "target": target,
        "groups": {
            **{name: group.required(target) for name, group in groups.items()},
            "installer": [INSTALLER, *builders(groups.values())],
        },
        "without": sorted({each for group in groups.values() for each in group.without}),
        "upgrade": list(upgrade),
        "uv": [
            *(UV, "pip", "compile", f"--python={PYTHON}", f"--cache-dir={UV_CACHE}"),
            "--only-binary=:all:",
            *(f"--no-binary={name}" for name in from_source(groups.values())),
            *environment.wheels.arguments(),
        ],
        "lock": _LOCK,
    }
    container = (
        (await environment.builder())
        .with_mounted_cache(UV_CACHE, environment.volume("resolve"))
        .with_(environment.wheels.mounted)
        .with_(environment.network.mounted)
        .with_new_file(_LOCK, current)
    )
    if upgrade or not current:
        # What is newest is another question each time.
        container = container.with_env_variable("ASKED_AT", datetime.now(UTC).isoformat())
    done = container.with_exec(
        ["python3", "-c", program("resolve.py")], stdin=json.dumps(asked, sort_keys=True)
    )
    try:
        await done.sync()
    except dagger.ExecError as exc:
        raise Conflict(exc.stderr.strip()) from exc
    return done.file(_LOCK)
