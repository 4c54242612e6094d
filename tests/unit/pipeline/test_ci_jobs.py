"""The jobs of a CI system that build what has changed, from plans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from layerline.pipeline import ci_jobs
from layerline.pipeline.ci_jobs import Jobs, of_plans, render
from layerline.pipeline.plan import Plan, Step


def plan(image: str, target: str, *steps: Step, final: str = "layers") -> Plan:
    last = Step(name=f"{image} and its probes", why=final, size=0, seconds=2.04)
    return Plan(image=image, target=target, steps=(Step(name="base", why=""), *steps, last))


JAX = Step(name="jax", why="jax 1 -> 2", size=5, seconds=11.26)
CORE = Step(name="core", why="")
NEW = Step(name="cv", why="the earlier build has no such layer")
PLANS = [
    plan("train", "cu13", CORE, NEW, JAX),
    plan("dev", "cu13", CORE, JAX),
    plan("api", "cpu", CORE, JAX),
    plan("drift", "cpu", CORE, final=""),
]


def listed(jobs: Jobs) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render(jobs, "json"))
    return found


def test_a_layer_of_two_images_is_one_job_and_that_of_another_target_another() -> None:
    jobs = of_plans(PLANS)
    assert [job.name for job in jobs.layers] == ["cv (cu13)", "jax (cpu)", "jax (cu13)"]
    assert [(job.name, job.needs) for job in jobs.images] == [
        ("api", ("jax (cpu)",)),
        ("dev", ("jax (cu13)",)),
        ("train", ("cv (cu13)", "jax (cu13)")),
    ]


def test_what_is_cached_is_no_job_and_what_is_new_has_no_time() -> None:
    assert listed(of_plans(PLANS[:1]))["layers"] == [
        {
            "name": "cv (cu13)",
            "layer": "cv",
            "target": "cu13",
            "why": "the earlier build has no such layer",
            "seconds": None,
        },
        {
            "name": "jax (cu13)",
            "layer": "jax",
            "target": "cu13",
            "why": "jax 1 -> 2",
            "seconds": 11.3,
        },
    ]
    assert listed(of_plans(PLANS[3:])) == {"layers": [], "images": []}


def test_github_reads_two_outputs_each_a_matrix_on_one_line() -> None:
    # https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-output-parameter
    text = render(of_plans(PLANS), "github")
    outputs = dict(line.split("=", 1) for line in text.splitlines())
    assert sorted(outputs) == ["images", "layers"]
    layers = json.loads(outputs["layers"])["include"]
    assert layers[1] == {
        "name": "jax (cpu)",
        "layer": "jax",
        "target": "cpu",
        "seconds": 11.3,
    }
    assert [row["image"] for row in json.loads(outputs["images"])["include"]] == [
        "api",
        "dev",
        "train",
    ]


def test_gitlab_builds_an_image_after_the_layers_that_it_has() -> None:
    pipeline = json.loads(render(of_plans(PLANS), "gitlab"))
    assert pipeline["image train"] == {
        "extends": ".image",
        "stage": "images",
        "variables": {"IMAGE": "train"},
        "needs": ["layer cv (cu13)", "layer jax (cu13)"],
    }
    assert pipeline[".layer"]["script"] == [
        '$LAYERLINE build-layer --layer="$LAYER" --target="$TARGET"'
    ]
    assert pipeline["layer jax (cpu)"]["variables"] == {"LAYER": "jax", "TARGET": "cpu"}


def test_gitlab_has_a_job_where_nothing_is_to_be_built() -> None:
    pipeline = json.loads(render(of_plans(PLANS[3:]), "gitlab"))
    assert [name for name, job in pipeline.items() if "stage" in job and name[0] != "."] == [
        "nothing to build"
    ]


def test_an_unknown_ci_system_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown CI system 'circle': use github, gitlab, json"):
        ci_jobs.render(of_plans(PLANS), "circle")
