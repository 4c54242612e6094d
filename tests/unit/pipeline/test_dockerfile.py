"""The Dockerfiles: what is committed is what is rendered, and layers are apart from each other."""

from __future__ import annotations

import re
from pathlib import Path

from layerline.pipeline import base_pins, dockerfile, lock
from layerline.pipeline.base_pins import BasePins, Deb
from layerline.pipeline.bases import PACKAGES
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.ignore_files import from_gitignore
from layerline.pipeline.source import NEVER_SELECTED
from tests.unit.pipeline.test_partition import TOML, lock_text

HOME = Path(__file__).parents[3]


def render(toml: str = TOML, text: str | None = None) -> dict[str, str]:
    locks = {"cu13": text or lock_text()}
    return dockerfile.render(parse_definition(toml), locks, ignored=NEVER_SELECTED)


def test_the_committed_dockerfiles_are_what_is_rendered() -> None:
    definition = parse_definition((HOME / "layerline.toml").read_text())
    locks = {name: (HOME / lock.path(name)).read_text() for name in definition.targets}
    git = from_gitignore({".gitignore": (HOME / ".gitignore").read_text()})
    wanted = dockerfile.render(definition, locks, ignored=[*git, *NEVER_SELECTED])
    place = HOME / dockerfile.PLACE
    # What a person reads is committed; programs and probes are rendered next to it when asked for.
    committed = {path.name: path.read_text() for path in place.iterdir() if path.is_file()}
    assert committed == {path: text for path, text in wanted.items() if "/" not in path}


def test_each_layer_has_a_stage_and_a_cache_volume_of_the_pipelines_name() -> None:
    text = render()["small.Dockerfile"]
    assert re.findall(r"^FROM builder AS (\S+)", text, re.MULTILINE) == [
        *("layer-cuda", "layer-cudnn", "layer-core", "layer-shared", "layer-jax"),
    ]
    assert "--mount=type=cache,id=uv-jax-cu13-v2,target=/mnt/uv" in text
    assert "--mount=type=cache,id=apt-cache-cu13-v2,target=/var/cache/apt" in text


def test_another_version_changes_what_the_probes_are_asked_and_no_stage() -> None:
    before, after = render(), render(text=lock_text({"jax": "2"}))
    assert [path for path in before if before[path] != after[path]] == ["requests/cu13/jax.json"]


def test_the_bytecode_of_each_layer_lies_above_it() -> None:
    files = render()
    assert "programs/bytecode.py" in files
    copied = re.findall(r"^COPY --from=(layer-\S+)", files["small.Dockerfile"], re.MULTILINE)
    names = [name for name in copied if not name.endswith("-bytecode")]
    assert len(names) == 5
    assert copied == [word for name in names for word in (name, f"{name}-bytecode")]


def test_an_image_without_bytecode_is_probed_with_what_its_probes_compile() -> None:
    assert "PYTHONPYCACHEPREFIX" not in render()["small.Dockerfile"]
    files = render(TOML.replace("[images.small]\n", "[images.small]\nbytecode = false\n"))
    assert "-bytecode" not in files["small.Dockerfile"]
    assert "PYTHONPYCACHEPREFIX=/tmp/bytecode" in files["small.Dockerfile"]


def test_an_image_with_packages_of_the_system_has_them_and_its_layers_have_not() -> None:
    toml = TOML.replace('["jax"]\n', '["jax"]\npackages = ["libgl1"]\n', 1)
    text = render(toml)["small.Dockerfile"]
    bare, system = text.split("FROM debian:bookworm-slim AS ")[1:]
    assert "libgl1" not in bare
    assert " libgl1 " in system


def test_words_of_the_user_arrive_as_they_are() -> None:
    toml = TOML + 'env = { GREETING = "say \\"$HOME\\"" }\ncommand = ["sh", "-c", "echo \\"a\\""]\n'
    text = render(toml)["small.Dockerfile"]
    assert 'ENV GREETING="say \\"\\$HOME\\""' in text
    assert 'CMD ["sh", "-c", "echo \\"a\\""]' in text


def test_the_context_has_the_source_of_the_image_and_nothing_else() -> None:
    toml = TOML + 'source = ["src/**"]\n'
    assert render(toml)["small.Dockerfile.dockerignore"].splitlines() == [
        *("*", "!src/**", *NEVER_SELECTED, "!locks/cu13.txt", "!dockerfiles"),
    ]
    assert "rm -rf dockerfiles locks" in render(toml)["small.Dockerfile"]
    assert "rm -rf dockerfiles \\\n" in render()["small.Dockerfile"]


def test_the_context_has_what_is_ignored_only_where_the_source_starts_with_it() -> None:
    toml = TOML + 'source = ["src/**", "!src/x", "data/train/**"]\n'
    ignored = ["**/data", "*.log"]
    files = dockerfile.render(parse_definition(toml), {"cu13": lock_text()}, ignored=ignored)
    assert files["small.Dockerfile.dockerignore"].splitlines() == [
        *("*", "!src/**", "src/x", "!data/train/**", *ignored, "!data/train/**"),
        *("!locks/cu13.txt", "!dockerfiles"),
    ]


def test_the_users_own_probes_are_named_apart() -> None:
    toml = TOML.replace('["jax"]\n', '["jax"]\nprobes = ["tests/own.py"]\n', 1)
    assert dockerfile.own_probes(parse_definition(toml)) == ("tests/own.py",)
    assert "probes/own.py" not in render(toml)


def test_a_pinned_base_and_its_packages_are_those_of_the_dockerfile() -> None:
    toml = TOML.replace('["jax"]\n', '["jax"]\npackages = ["libgl1"]\n', 1)
    pins = BasePins(
        image="debian:bookworm-slim",
        digest="sha256:" + "a" * 64,
        packages=tuple(sorted(PACKAGES)),
        extra_packages=("libgl1",),
        debs=(Deb.of(["tini", "0.19.0-1", "amd64", "sha256:" + "b" * 64]),),
        extra_debs=(Deb.of(["libgl1", "1.6.0-1", "amd64", "sha256:" + "c" * 64]),),
    )
    files = render(toml, base_pins.insert_pins(lock_text(), pins))
    bare, system = files["small.Dockerfile"].split(f"FROM debian:bookworm-slim@{pins.digest} AS ")[
        1:
    ]
    programs = []
    for stage in (bare, system):
        [name] = re.findall(r"source=dockerfiles/(programs/system\S*?),", stage)
        programs.append(files[name])
        assert programs[-1].endswith(files["programs/system.sh"])
    assert [str(pins.extra_debs[0]) in text for text in programs] == [False, True]
    assert all(str(pins.debs[0]) in text for text in programs)
