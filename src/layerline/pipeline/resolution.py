"""Resolves all groups of a target together, or explains which requirements conflict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagger

from layerline.pipeline import lock_rules, url_sources
from layerline.pipeline.conflict_hints import with_hints
from layerline.pipeline.definition import Definition, from_source
from layerline.pipeline.environment import PYTHON, UV, UV_CACHE, Environment, program
from layerline.pipeline.foreign_lock import merge, own_part, without_wheel
from layerline.pipeline.layer import INSTALLER
from layerline.pipeline.lock_inputs import LockInputs, platform_of
from layerline.pipeline.partition import partition
from layerline.pipeline.platform import Platform
from layerline.pipeline.url_sources import UrlSources
from layerline.pipeline.wheels import WHEELHOUSE

_LOCK = "/mnt/lock.txt"


class Conflict(ValueError):
    """The requirements of a target have no solution."""


async def resolve(
    environment: Environment,
    definition: Definition,
    *,
    current: str,
    theirs: str,
    projects: Mapping[str, Sequence[str]],
    upgrade: Sequence[str],
) -> str:
    """Resolve a target's lock, keeping current versions where the requirements allow.

    If another tool's lock is the target's, `theirs`, only what that lacks is resolved. `projects`
    are the directories to build, each with what its build requires.

    The lock is one that can be read back and partitioned, and whose images can be built.
    """
    target = environment.target
    container = await resolving_container(environment, definition, current)
    sources = await url_sources.of(definition, target, current, upgrade)
    sources = await sources.described(container)
    request = _request(environment, definition, sources, projects, upgrade)
    container = sources.mount(container)
    if upgrade or not current:
        # The newest versions change over time: never a cache hit.
        container = container.with_env_variable("ASKED_AT", datetime.now(UTC).isoformat())
    text = await _resolved(environment, definition, container, request, sources, projects)
    if not theirs:
        complete = text
    else:
        platform = platform_of(text)
        lacking = without_wheel(theirs, definition, target, platform)
        if lacking:
            path = definition.target(target).lock
            groups = {path: [f"{name}=={version}" for name, version in lacking.items()]}
            wider = {**request, "groups": {**request["groups"], **groups}}
            text = await _resolved(environment, definition, container, wider, sources, projects)
        text = own_part(text, definition, target)
        complete = merge(text, theirs, definition, target)
    parts = partition(complete, definition, target)
    lock_rules.check(complete, parts, definition, target)
    return text


async def _resolved(
    environment: Environment,
    definition: Definition,
    container: dagger.Container,
    request: Mapping[str, object],
    sources: UrlSources,
    projects: Mapping[str, Sequence[str]],
) -> str:
    """A lock with the record of what it was resolved from."""
    target = environment.target
    done = container.with_exec(
        ["python3", "-c", program("resolve_or_explain_conflict.py")],
        stdin=json.dumps(request, sort_keys=True),
    )
    try:
        found = json.loads(await environment.supplies.again(done.stdout))
    except dagger.ExecError as exc:
        raise Conflict(with_hints(exc.stderr.strip(), definition, target)) from exc
    built = found.pop("from_source")
    locked = sources.to_lock(await done.file(_LOCK).contents())
    inputs = LockInputs.of(definition, target, Platform(**found), built, projects, sources.versions)
    return inputs.header() + locked


async def resolving_container(
    environment: Environment, definition: Definition, current: str
) -> dagger.Container:
    """The container that resolves, with this machine's wheels."""
    supplies = environment.supplies
    wheels = supplies.wheels
    mounts = replace(
        await supplies.of(f"{environment.target}-lock"),
        arguments=wheels.arguments(*([WHEELHOUSE] if wheels.wheelhouse else [])),
        pages=definition.target(environment.target).pages(),
    )
    container = (
        (await environment.builder())
        # Not the installer's volume: uv's cache is pruned, of all that is not uv's as well.
        .with_mounted_cache(UV_CACHE, environment.volume("lock"))
        .with_(mounts.add)
        .with_new_file(_LOCK, current)
    )
    if wheels.wheelhouse is not None:
        container = container.with_mounted_directory(WHEELHOUSE, wheels.wheelhouse)
    return container


def _request(
    environment: Environment,
    definition: Definition,
    sources: UrlSources,
    projects: Mapping[str, Sequence[str]],
    upgrade: Sequence[str],
) -> dict[str, Any]:
    """The input of the resolving program."""
    target = environment.target
    groups = definition.groups_of(target)
    built_by = from_source(groups.values())
    builders = {each for by in (*built_by.values(), *projects.values()) for each in by}
    return {
        "target": target,
        "groups": {
            **{
                name: [sources.to_resolve(each) for each in group.requirements_for(target)]
                for name, group in groups.items()
                if not definition.target(target).lock
            },
            "installer": [INSTALLER, *sorted(builders)],
        },
        "without": sorted({each for group in groups.values() for each in group.without}),
        "upgrade": list(upgrade),
        "sources": dict(sources.requires),
        "only_binary": definition.target(target).only_binary,
        "uv": [
            *(UV, "pip", "compile", f"--python={PYTHON}", f"--cache-dir={UV_CACHE}"),
            "--only-binary=:all:",
            *(f"--no-binary={name}" for name in built_by),
        ],
        "lock": _LOCK,
    }
