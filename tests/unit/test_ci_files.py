"""What CI systems and the development container call exists."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ci.main import Layerline
from ci.modules import image_tests
from layerline import command
from layerline.pipeline import ci_jobs
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(__file__).parents[2]
WORKFLOWS = sorted((HOME / ".github/workflows").glob("*.yml"))
GITLAB = HOME / ".gitlab-ci.yml"
GITLAB_JOBS = HOME / "deploy/gitlab/jobs.yml"
KUBERNETES = sorted((HOME / "deploy/kubernetes").glob("*.yaml"))
DEFINITION = parse_definition((HOME / "layerline.toml").read_text())
# Flags of `layerline call` itself, which stand wherever the user likes.
OF_THE_TOOL = {"help", "index-url", "m", "o", "offline", "output", "q", "silent"}
ACTION = re.compile(
    r"actions/(checkout|cache|cache/restore|cache/save|(up|down)load-artifact)@[0-9a-f]{40}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a function as somebody wrote it, up to the next function of its chain."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def functions() -> dict[str, set[str]]:
    """The flags of each function, and under the empty name those of the module."""
    found = {"": _flags(Layerline)}
    for name, member in inspect.getmembers(Layerline):
        if inspect.iscoroutinefunction(inspect.unwrap(member)) and not name.startswith("_"):
            found[name.replace("_", "-")] = _flags(member)
    return found


def _flags(called: Any) -> set[str]:  # noqa: ANN401 - a class or a function
    names = set(inspect.signature(called).parameters) - {"self"}
    return {name.replace("_", "-") for name in names}


def calls(text: str) -> Iterator[Call]:
    """The calls in a script, or in a sentence about one."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for words in re.findall(r"layerline call ([^`#|\n]+)", joined):
        yield from _call(words.replace("…", ""))


def _call(text: str) -> Iterator[Call]:
    before: list[str] = []
    after: list[str] = []
    name = ""
    # A flag is `--flag=value`, or `-o FILE`.
    words = iter(shlex.split(text.rstrip(" .,:;)")))
    for word in words:
        if word.startswith("-"):
            (after if name else before).append(word.lstrip("-").partition("=")[0])
            if word == "-o":
                next(words)
        elif name:
            break
        else:
            name = word
    yield Call(name=name, before=tuple(before), after=tuple(after))


def commands(path: Path) -> str:
    """All that a workflow runs."""
    return "\n".join(_scripts(yaml.safe_load(path.read_text())))


def _scripts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _scripts(inner)


def named_calls(path: Path) -> list[Call]:
    text = commands(path) if path.suffix == ".yml" else path.read_text()
    return [call for call in calls(text) if re.fullmatch(r"[a-z][a-z0-9-]+", call.name)]


def test_calls_are_found_with_their_flags() -> None:
    text = "run `./layerline call --index-url=URL build \\\n  --image=api export --path=x` and wait"
    [found] = calls(text)
    assert found == Call(name="build", before=("index-url",), after=("image",))
    assert {"image"} == functions()["build"]
    assert "wheelhouse" in functions()[""]


@pytest.mark.parametrize("path", [*WORKFLOWS, GITLAB, GITLAB_JOBS], ids=lambda path: path.name)
def test_every_function_and_flag_that_is_named_exists(path: Path) -> None:
    known = functions()
    for call in named_calls(path):
        assert call.name in known, f"unknown function {call.name}"
        assert set(call.before) <= known[""] | OF_THE_TOOL, call
        assert set(call.after) <= known[call.name] | OF_THE_TOOL, call


def test_each_ci_system_runs_the_tests_of_the_readme_and_of_the_images() -> None:
    github = "\n".join(commands(path) for path in WORKFLOWS)
    for text in (github, f"{commands(GITLAB)}\n{commands(GITLAB_JOBS)}"):
        assert "./layerline test\n" in text
        assert re.search(r'layerline call \S+ "test-\$IMAGE"\n', text)
        assert "publish --image=" in text
        for image in image_tests.OF_IMAGE.keys() - {"dev", "train-cuda"}:
            assert f"test-{image}" in text
        for image in DEFINITION.images:
            assert image in text


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_uses_pinned_actions_of_the_platform(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 240
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert [name for name in used if not ACTION.fullmatch(name)] == []
        scripts = [step["run"] for step in job["steps"] if "run" in step]
        # Values from outside go through the environment: in a script they would be code.
        assert [script for script in scripts if "${{" in script] == []


def validate(*arguments: str | Path) -> None:
    """Check files by schemas that others have published; CommandFailed says what is wrong."""
    scripts = Path(sys.executable).parent
    command.run([scripts / str(arguments[0]), *arguments[1:]], timeout=60.0)


def test_workflows_fit_githubs_schema() -> None:
    validate("check-jsonschema", "--builtin-schema=vendor.github-workflows", *WORKFLOWS)


def test_the_pipeline_and_the_one_that_it_makes_fit_gitlabs_schema(tmp_path: Path) -> None:
    steps = [Step(name=name, why="new", size=1, seconds=1.0) for name in ("base", "jax", "api")]
    made = tmp_path / "jobs.yml"
    made.write_text(
        ci_jobs.render(
            ci_jobs.of_plans([Plan(image="api", target="cpu", steps=tuple(steps))]), "gitlab"
        )
    )
    options = ("--builtin-schema=vendor.gitlab-ci", "--data-transform=gitlab-ci")
    validate("check-jsonschema", *options, GITLAB, GITLAB_JOBS, made)


def test_what_is_for_kubernetes_fits_its_schemas() -> None:
    documents = [path for path in KUBERNETES if path.name != "dagger-values.yaml"]
    validate("kubernetes-validate", "--strict", *documents)


def test_the_job_on_kubernetes_has_no_privilege_on_its_node() -> None:
    job = yaml.safe_load((HOME / "deploy/kubernetes/layerline-job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert pod["hostUsers"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod["initContainers"], *pod["containers"]]:
        security = container["securityContext"]
        assert "privileged" not in security
        assert "add" not in security.get("capabilities", {})
    # procMount needs a user namespace: KEP-4265.
    assert [each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each] == [
        "/dev/net/tun"
    ]


def test_the_development_container_is_made_of_files_that_exist() -> None:
    folder = HOME / ".devcontainer"
    document = json.loads((folder / "devcontainer.json").read_text())
    dockerfile = (folder / document["build"]["dockerfile"]).resolve()
    assert dockerfile == HOME / "dockerfiles/dev.Dockerfile"
    assert (folder / document["build"]["context"]).resolve() == HOME
    assert (HOME / document["postCreateCommand"].split()[-1]).is_file()
    image = DEFINITION.images["dev"]
    assert document["remoteUser"] == image.user
    assert set(image.ports) <= set(document["forwardPorts"])
    assert image.env["PYTHONPATH"] == document["workspaceFolder"] + "/src"
