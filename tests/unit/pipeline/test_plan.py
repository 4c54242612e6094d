"""What would run and why, from what an earlier build recorded."""

from __future__ import annotations

from typing import Any

from layerline.pipeline import plan
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.partition import Partition, partition
from tests.unit.pipeline.test_partition import TOML, lock_text

PARTS = partition(lock_text(), parse_definition(TOML), "cu13")
GROUPS = ("core", "jax")
IMAGE = "core"  # as one of its layers is called
INPUTS = {
    "base": "debian:bookworm-slim@sha256:" + "a" * 64,
    "base.packages": ["python3", "tini"],
    "installer": "uv==1 sha256:" + "b" * 64,
}
Found = dict[str, dict[str, Any]]


def made_from(parts: Partition = PARTS, **others: object) -> Found:
    """What an image and its layers are made from; some of the image's own is another one."""
    layers = {
        layer.name: {
            "lock": plan.lock_digest(layer),
            "probed": {"probe versions": "sha256:aa", "packages of the system": []},
        }
        for layer in parts.of(GROUPS)
    }
    image = {
        "inputs": INPUTS,
        "image": {"env": {}, "budget_mb": 9},
        "probed": {"probe budget": "sha256:aa"},
        "source": "sha256:aa",
    }
    return {**layers, f"image {IMAGE}": {**image, **others}}


def earlier_evidence() -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = [
        {
            "subject": layer.name,
            "seconds": 10.0,
            "probes": [{"seconds": 1.0}],
            "packages": [
                {"name": pin.name, "version": pin.version, "bytes": 5_000_000} for pin in layer.pins
            ],
            "downloaded": {"jax": 2_000_000},
            "bytecode": {"files": 9, "bytes": 1_000_000, "seconds": 3.0, "left_out": []},
        }
        for layer in PARTS.of(GROUPS)
    ]
    files = {"source": {"src/a.py": "sha256:aa", "src/old.py": "sha256:cc"}}
    whole = {"subject": f"image {IMAGE}", "probes": [{"seconds": 2.0}], "files": files}
    made = made_from()
    return [{**each, **made[str(each["subject"])]} for each in [*layers, whole]]


def plan_image(
    *, text: str = "", now: Found | None = None, files: dict[str, dict[str, str]] | None = None
) -> plan.Plan:
    parts = partition(text or lock_text(), parse_definition(TOML), "cu13")
    return plan.of_image(
        IMAGE,
        parts.of(GROUPS),
        target="cu13",
        now=now or made_from(parts),
        earlier=earlier_evidence(),
        files=files or {},
    )


def why(made: plan.Plan) -> dict[str, str]:
    return {step.name: step.why for step in made.steps}


def test_nothing_runs_when_nothing_changed() -> None:
    made = plan_image()
    assert set(why(made).values()) == {""}
    assert made.text().endswith(f"all steps of {IMAGE} are cached\n")


def test_a_changed_line_of_the_lock_is_named_and_its_cost_is_estimated() -> None:
    text = plan_image(text=lock_text({"jax": "2"})).text()
    assert "run     jax: jax 1 -> 2\n" in text
    assert "cached  core\n" in text
    assert f"run     {IMAGE} and its probes: layers\n" in text
    expected = "expected: at most 2 MB to download, 11 MB more on disk; 16 s of work"
    assert expected in text


def test_a_package_of_unknown_download_is_counted_with_its_installed_bytes() -> None:
    steps = {step.name: step for step in plan_image(text=lock_text({"opt-einsum": "2"})).steps}
    assert steps["jax"].download == 5_000_000


def test_other_hashes_of_the_same_version_count() -> None:
    text = lock_text().replace("jax==1 \\\n    --hash=sha256:aa", "jax==1 \\\n    --hash=sha256:bb")
    assert why(plan_image(text=text))["jax"] == "hashes in the lock changed"
    assert why(plan_image(text=text))["core"] == ""


def test_a_layer_on_a_changed_one_is_only_probed_again() -> None:
    text = lock_text().replace("numpy==1 \\", "numpy==2 \\")
    made = plan_image(text=text)
    assert why(made)["jax"] == "probes only: it depends on core"
    assert {step.name: step.size for step in made.steps}["jax"] == 0


def test_a_changed_base_or_argument_is_named_and_runs_everything() -> None:
    others = {
        **INPUTS,
        "base": "debian:bookworm-slim@sha256:" + "c" * 64,
        "base.packages": ["curl", "python3"],
        "installer": "uv==2 sha256:" + "d" * 64,
    }
    [base, *layers, _] = plan_image(now=made_from(inputs=others)).steps
    assert base.why == (
        "base: debian:bookworm-slim@sha256:aaaaaaaaaaaa -> "
        "debian:bookworm-slim@sha256:cccccccccccc; base.packages: + curl, - tini; "
        "installer: uv==1 sha256:bbbbbbbbbbbb -> uv==2 sha256:dddddddddddd"
    )
    assert {step.why for step in layers} == {"its base"}


def on(base: dict[str, Any], of_layers: dict[str, Any]) -> dict[str, Any]:
    """The inputs of an image whose layers were made on another base."""
    return {"inputs": base, plan.OF_LAYERS: of_layers}


def test_layers_that_stay_on_the_earlier_base_are_only_probed_again() -> None:
    newer = {**INPUTS, "base": "debian:bookworm-slim@sha256:" + "c" * 64}
    patched = made_from(**on(newer, INPUTS))
    [base, *layers, last] = plan_image(now=patched).steps
    assert base.why.startswith("base: debian:bookworm-slim@sha256:aaaaaaaaaaaa -> ")
    assert {step.why for step in layers} == {"probes only: its base"}
    assert {step.download for step in layers} == {0}
    assert last.why == "layers"


def test_a_patch_of_a_patched_image_installs_nothing_either() -> None:
    """What its layers were made on is in its evidence, next to the base that it had."""
    newer, newest = ({**INPUTS, "base": f"debian@sha256:{each * 64}"} for each in "cd")
    before = earlier_evidence()
    before[-1] |= {"inputs": newer, plan.OF_LAYERS: INPUTS}

    def reasons(others: dict[str, Any]) -> set[str]:
        made = plan.of_image(
            IMAGE,
            PARTS.of(GROUPS),
            target="cu13",
            now=made_from(**others),
            earlier=before,
            files={},
        )
        return {step.why for step in made.layers}

    assert reasons(on(newest, INPUTS)) == {"probes only: its base"}
    assert reasons(on(newer, INPUTS)) == {""}
    # Without the earlier locks all is installed on the base of the lock.
    assert reasons({"inputs": newer}) == {"its base"}


def test_a_changed_source_runs_no_layer_and_its_files_are_named() -> None:
    files = {"source": {"src/a.py": "sha256:bb", "src/b.py": "sha256:aa"}}
    found = why(plan_image(now=made_from(source="sha256:bb"), files=files))
    expected = "source: src/a.py changed, src/b.py new, src/old.py gone"
    assert {name: text for name, text in found.items() if text} == {
        f"{IMAGE} and its probes": expected
    }


def test_a_changed_key_of_the_image_and_a_changed_probe_are_named() -> None:
    now = made_from(image={"env": {}, "budget_mb": 8}, probed={"probe budget": "sha256:bb"})
    now["core"]["probed"] = {"probe versions": "sha256:aa", "packages of the system": ["libgl1"]}
    found = why(plan_image(now=now))
    assert found[f"{IMAGE} and its probes"] == (
        f"images.{IMAGE}.budget_mb changed; probe budget changed; layers"
    )
    assert found["core"] == "probes only: packages of the system: + libgl1"


def test_a_key_that_the_earlier_build_did_not_know_counts_where_it_is_set() -> None:
    kept = {"env": {}, "budget_mb": 9, "projects": [], "max_layer_mb": None, "bytecode": True}
    assert set(why(plan_image(now=made_from(image=kept))).values()) == {""}
    found = why(plan_image(now=made_from(image={**kept, "bytecode": False})))
    assert found[f"{IMAGE} and its probes"] == f"images.{IMAGE}.bytecode changed"


def test_without_an_earlier_build_everything_runs_and_nothing_is_known() -> None:
    made = plan.of_image(IMAGE, PARTS.of(GROUPS), target="cu13", now={}, earlier=[], files={})
    assert "run     base: no earlier build\n" in made.text()
    assert "no estimate for base, cuda, cudnn, core, shared, jax" in made.text()
