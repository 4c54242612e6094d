"""What a layerline.toml means, and what is said about one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerline.pipeline.conflict_hints import with_hints
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.diagnostics import DefinitionError

OURS = Path(__file__).parents[3] / "layerline.toml"
SMALL = """\
[targets.cpu]

[groups.core]
requirements = [
  "numpy>=2",
  "scipy",
]

[images.train]
target = "cpu"
groups = ["core"]
"""


def error_message(text: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        parse_definition(text)
    return str(caught.value)


def test_what_is_not_written_has_a_value() -> None:
    image = parse_definition(SMALL).image("train")
    assert (image.user, image.entrypoint, image.source) == ("app", ("tini", "--"), ("**",))
    assert parse_definition(SMALL).base.image == "debian:bookworm-slim"


def test_requirements_are_for_every_target_or_for_one() -> None:
    text = SMALL.replace("[targets.cpu]", "[targets.cpu]\n[targets.cu13]\n")
    text = text.replace('"scipy",\n]', '"scipy",\n]\n[groups.jax]\n') + (
        '[images.gpu]\ntarget = "cu13"\ngroups = ["core", "jax"]\n'
    )
    text = text.replace("[groups.jax]", '[groups.jax]\nrequirements = { cu13 = ["jax[cuda13]"] }')
    definition = parse_definition(text)
    assert definition.groups["core"].requirements_for("cu13") == ("numpy>=2", "scipy")
    assert definition.groups["jax"].requirements_for("cu13") == ("jax[cuda13]",)
    assert set(definition.groups_of("cpu")) == {"core"}


def test_a_definition_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_definition(SMALL).base.image = "other"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("requirements =", "requirments =", ":4: groups.core has no key 'requirments': use req"),
        ('target = "cpu"\n', "", ":9: images.train has no 'target': add target = \"cpu\""),
        ('target = "cpu"', "target = 3", ":10: images.train.target is 3: input should be a valid"),
        ('"scipy"', '"=scipy"', ":6: groups.core.requirements is '=scipy': invalid value; use"),
        ('target = "cpu"', 'target = "gpu"', ":10: image train has unknown target 'gpu': use one"),
        ('["core"]', '["core", "jax"]', ":11: image train has unknown group 'jax': use one"),
        ("[targets.cpu]", "[targets.cpu]\ncuda = 13", ":2: targets.cpu.cuda is 13: input should"),
        (
            '"scipy"',
            '"scipy=1"',
            ":6: groups.core.requirements is 'scipy=1': '=' is not an operator",
        ),
        ('"scipy"', '"scipy>=x"', ":6: groups.core.requirements is 'scipy>=x': not a requirement"),
        ('["core"]', '["coer"]', ":11: image train has unknown group 'coer': did you mean 'core'?"),
        ('["core"]', '"core"', ":11: images.train.groups is 'core': input should be a list; use"),
        ('["core"]', '["core"]\nenv = { A = 1 }', ":12: images.train.env.A is 1: input should be"),
        ('["core"]', '["core"]\nenv = { A = 1 }', '; use A = "1"'),
        (
            '["core"]',
            '["core"]\nports = [0]',
            ":12: images.train.ports is 0: ports are numbers from 1",
        ),
        (
            '["core"]',
            '["core"]\nports = [65536]',
            "ports is 65536: ports are numbers from 1 to 65535",
        ),
        (
            '["core"]',
            '["core"]\nuser = "1001"',
            ":12: images.train.user is '1001': the run user gets",
        ),
        ("[groups.core]", "[groups.shared]", ":3: group shared has the name of the layer that all"),
        ("[images.train]", "[images.Train]", "use a name of lower-case letters, digits and"),
        ("requirements = [", "requirements [", ":4: invalid TOML: "),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_a_fix(before: str, after: str, said: str) -> None:
    assert said in error_message(SMALL.replace(before, after))


INDEX = "https://me:hunter2@packages.example/simple"
WHEEL = "six @ https://me:p@ss@packages.example/six.whl"
EXAMPLE = 'url = "https://download.pytorch.org/whl/cpu"'


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "numpy>=2",
            "idna=3",
            ":5: groups.core.requirements is 'idna=3': '=' is not an operator of versions; did you "
            "mean idna==3?",
        ),
        (
            '["core"]',
            '["core"]\nenv = {A=1}',
            ':12: images.train.env.A is 1: input should be a valid string; use A = "1"',
        ),
        (
            '["core"]',
            '["core"]\nports = [8000, 70000]',
            ":12: images.train.ports is 70000: ports are numbers from 1 to 65535; use "
            "ports = [8000]",
        ),
        (
            '["core"]',
            '["core"]\nuser = "1001"',
            ":12: images.train.user is '1001': the run user gets the ids 1000:1000, so a number "
            'would be another one\'s; use user = "app"',
        ),
        (
            '[groups.core]\nrequirements = [\n  "numpy>=2",',
            '[groups.shared]\nrequirements = ["six"]\n[groups.core]\nrequirements = [\n "numpy",',
            ":3: group shared has the name of the layer that all images share: rename it",
        ),
        (
            "groups =",
            "gruops =",
            ":9: images.train has no 'groups': add groups = [\"core\"]\n"
            "layerline.toml:11: images.train has no key 'gruops': use groups",
        ),
        (
            'target = "cpu"',
            'target = "cpuu"',
            ":10: image train has unknown target 'cpuu': did you mean 'cpu'? use one of the "
            "targets cpu",
        ),
        (
            "[targets.cpu]",
            f'[targets.cpu]\nindexes = [{{ url = "{INDEX}", packages = ["six"] }}]',
            ":2: targets.cpu.indexes.url is 'https://***@packages.example/simple': credentials are "
            f"not written here: give --index-credentials; use {EXAMPLE}",
        ),
        (
            "[targets.cpu]",
            f'[targets.cpu]\nindexes = ["{INDEX}"]',
            ":2: targets.cpu.indexes is 'https://***@packages.example/simple': input should be a "
            f'table; use indexes = [{{ {EXAMPLE}, packages = ["torch"] }}]',
        ),
        (
            "[targets.cpu]",
            '[targets.cpu]\nindexes = [{ url = "packages.example", packages = ["six"] }]',
            ":2: targets.cpu.indexes.url is 'packages.example': an index has a URL of http or "
            f"https; use {EXAMPLE}",
        ),
        (
            '"scipy"',
            f'"=={WHEEL}"',
            ":6: groups.core.requirements is '==six @ https://***@packages.example/six.whl': "
            'invalid value; use requirements = ["numpy>=2"]',
        ),
    ],
)
def test_a_mistake_has_this_message(before: str, after: str, message: str) -> None:
    assert error_message(SMALL.replace(before, after)) == f"layerline.toml{message}"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "Because the current Python version (3.11.2) does not satisfy Python>=3.12 and",
            'To resolve it:\n  - base: python = "3.12" instead of Python 3.11.2',
        ),
        (
            "because the current Python version (3.11.2) does not satisfy Python>=3.13,<4\n"
            "To resolve it:\n  - core: numpy instead of numpy>=2.5 (resolves to 2.4.6)",
            '  - base: python = "3.13" instead of Python 3.11.2',
        ),
        (
            "error: Failed to download and build `six @ git+https://git.example/six.git`\n"
            "  cause: Git executable not found. Ensure that Git is installed and available.",
            "group core requires six @ git+https://git.example/six.git, and the base has no git: "
            'add it: base.packages = ["ca-certificates", "git", "libgomp1", "python3", '
            '"python3-venv", "tini"]',
        ),
    ],
)
def test_a_conflict_says_what_the_base_would_have_to_be(said: str, hint: str) -> None:
    """The texts are those of uv 0.9."""
    text = SMALL.replace('"scipy"', '"six @ git+https://git.example/six.git"')
    assert with_hints(said, parse_definition(text), "cpu") == f"{said}\n{hint}"


def test_requirements_for_a_target_that_an_image_has_are_asked_for() -> None:
    text = SMALL.replace("[targets.cpu]", "[targets.cpu]\n[targets.cu13]")
    text = text.replace('[\n  "numpy>=2",\n  "scipy",\n]', '{ cu13 = ["numpy"] }')
    assert "add requirements = { cpu = [...] } in [groups.core]" in error_message(text)


def test_all_mistakes_are_reported_at_once() -> None:
    said = error_message(SMALL.replace('target = "cpu"\n', 'ports = ["http"]\nbudget_mb = -1\n'))
    assert [line.partition(": ")[0] for line in said.splitlines()] == [
        "layerline.toml:9",
        "layerline.toml:10",
        "layerline.toml:11",
    ]


def test_an_unknown_name_is_reported_with_the_known_ones() -> None:
    with pytest.raises(DefinitionError, match=r"image 'tran': did you mean 'train'\? use one"):
        parse_definition(SMALL).image("tran")


def test_the_images_of_this_repository_are_defined() -> None:
    definition = parse_definition(OURS.read_text())
    assert set(definition.images) == {
        *("train-cuda", "train", "api", "api-cloudrun", "drift-api", "dev"),
    }
