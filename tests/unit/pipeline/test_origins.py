"""Requirements with a URL: their forms, and what is locked and built of them.

The forms are those of PEP 508 and of pip's VCS support
(https://pip.pypa.io/en/stable/topics/vcs-support/); the lock's lines are those of `uv pip compile`.
"""

from __future__ import annotations

import dataclasses

import pytest

from layerline.pipeline import dockerfile, lock, url_sources
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.diagnostics import DefinitionError
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import LockInputs
from layerline.pipeline.origins import Origin, origin_of, parse_origin
from layerline.pipeline.partition import partition
from layerline.pipeline.platform import Platform
from layerline.pipeline.url_sources import UrlSource, UrlSources

COMMIT = "986b70489f747bc131127f0315a24dc30dcd3dfa"
GIT = "git+https://host.example/team/one.git"
WHEEL = "https://host.example/two-2.0-py3-none-any.whl"
ARCHIVE = "https://host.example/three-3.0.tar.gz"
TOML = f"""\
[targets.cpu]
[groups.core]
requirements = [
  "one @ {GIT}@main",
  "two @ {WHEEL}",
  "three @ {ARCHIVE}",
]
[images.app]
target = "cpu"
groups = ["core"]
"""
PINS = f"""\
one @ {GIT}@{COMMIT}
setuptools==80 \\
    --hash=sha256:bb
three @ {ARCHIVE} \\
    --hash=sha256:cc
two @ {WHEEL} \\
    --hash=sha256:dd
    # via one
uv==1 \\
    --hash=sha256:aa
"""
VERSIONS = {"one": "1.5", "two": "2.0", "three": "3.0"}
SOURCES = {"one": ["setuptools"], "three": ["setuptools"]}
DEFINITION = parse_definition(TOML)
INPUTS = LockInputs.of(DEFINITION, "cpu", Platform(), SOURCES, None, VERSIONS)
LOCK = INPUTS.header() + PINS


@pytest.mark.parametrize(
    ("url", "ref", "rest"),
    [
        (f"{GIT}@v1.0", "v1.0", {}),
        (f"{GIT}@release/2#egg=one&subdirectory=py", "release/2", {"subdirectory": "py"}),
        (GIT, "", {}),
        ("git+ssh://git@host.example/one@main", "main", {"url": "git+ssh://git@host.example/one"}),
    ],
)
def test_a_url_of_git_has_a_repository_and_a_reference(
    url: str, ref: str, rest: dict[str, str]
) -> None:
    wanted = dataclasses.replace(Origin(name="one", url=GIT, ref=ref), **rest)
    assert parse_origin("one", url) == wanted
    assert parse_origin("one", wanted.at(COMMIT)) == dataclasses.replace(wanted, ref=COMMIT)
    assert origin_of(f"One @ {url} ; python_version > '3'") == wanted
    assert origin_of("one>=2") is None


def test_a_lock_with_urls_is_read_back_and_partitioned() -> None:
    assert LockInputs.read(LOCK) == LockInputs.of(
        DEFINITION, "cpu", Platform(), {k: tuple(v) for k, v in SOURCES.items()}, {}, VERSIONS
    )
    pins = lock.parse(LOCK)
    assert {name: pin.version for name, pin in pins.items() if pin.url} == VERSIONS
    assert (pins["one"].url, pins["two"].hashes) == (f"{GIT}@{COMMIT}", ("sha256:dd",))
    layer = partition(LOCK, DEFINITION, "cpu").layers["core"]
    # What has to be built is; a wheel is installed from where it is, by its hash.
    assert [pin.name for pin in layer.built] == ["one", "three"]
    assert layer.wheel_requirements == f"two @ {WHEEL} \\\n    --hash=sha256:dd\n"
    builders = {name: [pin.name for pin in pins] for name, pins in layer.builders.items()}
    assert builders == {"one": ["setuptools"], "three": ["setuptools"]}


def test_a_lock_of_another_reference_is_out_of_date() -> None:
    with pytest.raises(LockError) as caught:
        partition(LOCK, parse_definition(TOML.replace("@main", "@v2")), "cpu")
    assert f"group core requires one @ {GIT}@v2, which the lock" in str(caught.value)


def test_the_lock_has_the_commit_and_what_is_resolved_is_its_files() -> None:
    sources = UrlSources(
        sources={
            "one": UrlSource(origin=parse_origin("one", f"{GIT}@main"), commit=COMMIT),
            "two": UrlSource(origin=parse_origin("two", WHEEL)),
        }
    )
    text = f"One[x] @ {GIT}@main ; python_version > '3'"
    assert sources.to_resolve(text) == 'One[x] @ file:///mnt/git/one ; python_version > "3"'
    assert sources.to_resolve("numpy>=2") == "numpy>=2"
    # As `uv pip compile --annotation-style=line` writes it.
    rest = f"two @ {WHEEL} \\\n    --hash=sha256:dd\n"
    resolved = f"one[x] @ file:///mnt/git/one  # via three\n{rest}"
    assert sources.to_lock(resolved) == f"one[x] @ {GIT}@{COMMIT}\n    # via three\n{rest}"


async def test_a_target_of_wheels_alone_takes_a_wheel_and_no_archive() -> None:
    toml = TOML.replace("[targets.cpu]", "[targets.cpu]\nonly_binary = true")
    toml = toml.replace(f'  "one @ {GIT}@main",\n', "")
    with pytest.raises(LockError, match=r"^three: the URL is not that of a wheel; only_binary"):
        await url_sources.of(parse_definition(toml), "cpu", "", ())
    wheel = parse_definition(toml.replace(f'  "three @ {ARCHIVE}",\n', ""))
    assert list((await url_sources.of(wheel, "cpu", "", ())).sources) == ["two"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///opt/one", "a directory is not a requirement; did you mean images.NAME.projects?"),
        ("https://me:word@host.example/one.zip", "the URL has credentials, which the lock would"),
        ("git+file:///one", "the schemes of URLs are https, http, git+https, git+http, git+ssh"),
        (f"{ARCHIVE}#subdirectory=x", "a subdirectory is that of a repository; did you mean a URL"),
    ],
)
def test_other_urls_are_refused_at_their_line(url: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_definition(TOML.replace(f"{GIT}@main", url))
    [line] = str(caught.value).splitlines()
    assert line.startswith("layerline.toml:4: groups.core.requirements")
    assert said in line


def test_an_image_with_a_url_has_no_dockerfile() -> None:
    with pytest.raises(LockError, match="no Dockerfile for image app: one, three, two have a URL"):
        dockerfile.render(DEFINITION, {"cpu": LOCK}, ignored=())
