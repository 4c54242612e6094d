"""The jobs by which a CI system builds what has changed: layers first, then the images on them.

Invariant: a layer that several images of a target share is one job. There are none for what an
earlier build had already; the seconds are those of the earlier build.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerline.pipeline.errors import PipelineError
from layerline.pipeline.plan import Plan, Step

CALL = "layerline call"
# The function of each stage, and its flags.
_CALLS = {"layers": ("build-layer", ("layer", "target")), "images": ("build", ("image",))}
_IDLE = "nothing to build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A call of its stage's function with these `flags`, after the jobs that it `needs`.

    `seconds` is None where no earlier build knows.
    """

    name: str
    flags: Mapping[str, str]
    why: str
    seconds: float | None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The jobs of the layers, and those of the images, which come after."""

    layers: tuple[Job, ...]
    images: tuple[Job, ...]


def of_plans(plans: Sequence[Plan]) -> Jobs:
    """The jobs of some images; two jobs of one layer are one, with the reason of the first."""
    layers: dict[str, Job] = {}
    images = []
    for plan in plans:
        needed = {job.name: job for job in _layer_jobs(plan)}
        layers = {**needed, **layers}
        final = plan.final
        if not final.why:
            continue
        images.append(
            Job(
                name=plan.image,
                flags={"image": plan.image},
                why=final.why,
                seconds=_seconds(final),
                needs=tuple(sorted(needed)),
            )
        )
    by_name = sorted(layers.values(), key=lambda job: job.name)
    return Jobs(layers=tuple(by_name), images=tuple(sorted(images, key=lambda job: job.name)))


def _layer_jobs(plan: Plan) -> Iterator[Job]:
    for step in plan.layers:
        if step.why:
            yield Job(
                name=f"{step.name} ({plan.target})",
                flags={"layer": step.name, "target": plan.target},
                why=step.why,
                seconds=_seconds(step),
            )


def _seconds(step: Step) -> float | None:
    return None if step.size is None else round(step.seconds, 1)


def render(jobs: Jobs, ci: str) -> str:
    """The jobs in the form that a CI system reads; a `ValueError` names the known ones."""
    if ci not in _FORMS:
        message = f"unknown CI system {ci!r}: use {', '.join(_FORMS)}"
        raise PipelineError(message)
    return _FORMS[ci](jobs)


def _json(jobs: Jobs) -> str:
    described = {
        stage: [
            {
                "name": job.name,
                **job.flags,
                "why": job.why,
                "seconds": job.seconds,
                **({"needs": job.needs} if stage == "images" else {}),
            }
            for job in each
        ]
        for stage, each in _stages(jobs)
    }
    return json.dumps(described, indent=1) + "\n"


def _github(jobs: Jobs) -> str:
    """Two lines for `$GITHUB_OUTPUT`: a matrix of the layers and one of the images.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstrategymatrix
    """
    lines = []
    for stage, each in _stages(jobs):
        rows = [{"name": job.name, **job.flags, "seconds": job.seconds} for job in each]
        lines.append(f"{stage}={json.dumps({'include': rows}, separators=(',', ':'))}\n")
    return "".join(lines)


def _gitlab(jobs: Jobs) -> str:
    """A child pipeline, as YAML that is JSON: https://docs.gitlab.com/ci/pipelines/downstream_pipelines/.

    Its hidden jobs `.layer` and `.image` are for the project's own file to extend: one that is
    included after this.
    """
    document: dict[str, object] = {"stages": [*_CALLS]}
    for stage, (function, flags) in _CALLS.items():
        words = " ".join(f'--{name}="${name.upper()}"' for name in flags)
        document[f".{stage.removesuffix('s')}"] = {
            "variables": {"LAYERLINE": CALL},
            "script": [f"$LAYERLINE {function} {words}"],
        }
    for stage, each in _stages(jobs):
        kind = stage.removesuffix("s")
        for job in each:
            document[f"{kind} {job.name}"] = {
                "extends": f".{kind}",
                "stage": stage,
                "variables": {name.upper(): value for name, value in job.flags.items()},
                "needs": [f"layer {name}" for name in job.needs],
            }
    if not jobs.layers and not jobs.images:  # a pipeline without a job is an error
        document[_IDLE] = {"stage": "images", "script": [shlex.join(["echo", _IDLE])]}
    return json.dumps(document, indent=1) + "\n"


def _stages(jobs: Jobs) -> tuple[tuple[str, tuple[Job, ...]], ...]:
    return (("layers", jobs.layers), ("images", jobs.images))


_FORMS: Mapping[str, Callable[[Jobs], str]] = {
    "github": _github,
    "gitlab": _gitlab,
    "json": _json,
}
