"""What would run and why, from what an earlier build remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ci.modules import plan
from ci.modules.definition import read
from ci.modules.layer import partition
from tests.unit.ci.test_layer import TOML, locked

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = plan.inputs("debian", "uv==1", ["--index-url=here"])
PARTS = partition(locked(), read(TOML), "cu13")
GROUPS = ("core", "jax")


def remembered(inputs: Mapping[str, str] = NOW) -> list[dict[str, Any]]:
    layers = [
        {
            "subject": layer.name,
            "seconds": 10.0,
            "lock": plan.lock_digest(layer),
            "packages": [
                {"name": pin.name, "version": pin.version, "bytes": 5_000_000} for pin in layer.pins
            ],
        }
        for layer in PARTS.of(GROUPS)
    ]
    return [*layers, {"subject": "small", "inputs": inputs, "probes": [{"seconds": 2.0}]}]


def planned(earlier: list[dict[str, Any]], text: str = "", source: str = "") -> plan.Plan:
    parts = partition(text or locked(), read(TOML), "cu13")
    return plan.of_image("small", parts, GROUPS, now=NOW, earlier=earlier, source=source)


def test_nothing_runs_when_nothing_changed() -> None:
    made = planned(remembered())
    assert [step.why for step in made.steps if step.why] == []
    assert made.text().endswith("Nothing of small would run.\n")


def test_a_changed_line_of_the_lock_is_named_and_what_it_costs_is_told() -> None:
    text = planned(remembered(), locked({"jax": "2"})).text()
    assert "run   jax: jax 1 -> 2\n" in text
    assert "keep  core\n" in text
    assert "run   small and its probes: layers\n" in text
    assert "expected: 10 MB more on the disk, less to download; 12 s of work" in text


def test_other_hashes_of_the_same_version_count() -> None:
    text = locked().replace("jax==1 \\\n    --hash=sha256:aa", "jax==1 \\\n    --hash=sha256:bb")
    why = {step.name: step.why for step in planned(remembered(), text).steps}
    assert why["jax"] == "other hashes in the lock"
    assert why["core"] == ""


def test_a_changed_argument_or_base_runs_everything() -> None:
    other = plan.inputs("ubuntu", "uv==1", [])
    steps = planned(remembered(other)).steps
    assert {step.why for step in steps[:-1]} == {"changed: base, arguments"}


def test_a_changed_source_runs_no_layer() -> None:
    made = planned(remembered(), source="source")
    assert [step.name for step in made.steps if step.why] == ["small and its probes"]


def test_without_an_earlier_build_everything_runs_and_nothing_is_known() -> None:
    text = planned([]).text()
    assert "run   base: no earlier build is known\n" in text
    assert "nothing known of base, core, cuda, cudnn, jax, shared" in text
