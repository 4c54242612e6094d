"""The pipeline's functions called in this process, in one session for many projects.

A call of the command line starts a process for the functions, which takes seconds. What they raise
is the same here: the command line shows it after `FunctionError: `.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import anyio
import dagger
from dagger import dag

import layerline
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.functions import PipelineFunctions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def call_all(workdir: Path, calls: Mapping[str, str]) -> dict[str, str]:
    """What each call raises, by the directory of its project below `workdir`."""
    with layerline.connect(workdir=workdir):
        return anyio.run(_call_each, calls)


async def _call_each(calls: Mapping[str, str]) -> dict[str, str]:
    async with dagger.connection():
        return {project: await _raised_by(project, argv) for project, argv in calls.items()}


async def _raised_by(project: str, argv: str) -> str:
    name, *flags = shlex.split(argv.removeprefix("call "))
    given = dict(each.removeprefix("--").split("=", 1) for each in flags)
    functions: Any = PipelineFunctions(source=dag.host().directory(project))
    try:
        await getattr(functions, name.replace("-", "_"))(**given)
    except PipelineError as exc:
        return str(exc)
    return ""
