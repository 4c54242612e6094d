"""Resolves all groups of a target together, or explains which requirements conflict."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import dagger

from layerline.pipeline.definition import Definition, builders, from_source
from layerline.pipeline.environment import PYTHON, UV, UV_CACHE, Environment, program
from layerline.pipeline.layer import INSTALLER

_LOCK = "/mnt/lock.txt"


class Conflict(ValueError):
    """The requirements of a target have no solution."""


async def resolve(
    environment: Environment,
    definition: Definition,
    *,
    current: str,
    upgrade: Sequence[str],
) -> dagger.File:
    """Resolve a target's lock, keeping current versions where the requirements allow."""
    target = environment.target
    groups = definition.groups_of(target)
    request = {
        "target": target,
        "groups": {
            **{name: group.requirements_for(target) for name, group in groups.items()},
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
        .with_(environment.wheels.mount)
        .with_(environment.network.mount)
        .with_new_file(_LOCK, current)
    )
    if upgrade or not current:
        # The newest versions change over time: never a cache hit.
        container = container.with_env_variable("ASKED_AT", datetime.now(UTC).isoformat())
    done = container.with_exec(
        ["python3", "-c", program("resolve_or_explain_conflict.py")],
        stdin=json.dumps(request, sort_keys=True),
    )
    try:
        await done.sync()
    except dagger.ExecError as exc:
        raise Conflict(exc.stderr.strip()) from exc
    return done.file(_LOCK)
