"""What `source` selects: git itself says what is tracked, and what would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagger
import pytest
from dagger import dag

import layerline
from layerline import command
from layerline.doctor import ignore
from layerline.pipeline import secret_names
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.diagnostics import DefinitionError
from layerline.pipeline.git_index import tracked_paths
from layerline.pipeline.ignore_files import from_gitignore, parse_dockerignore
from layerline.pipeline.image import Assembly
from layerline.pipeline.source import NOT_LOADED, Selection, check_patterns, select

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TOML = """\
[targets.cpu]
[groups.core]
requirements = ["numpy"]
[images.app]
target = "cpu"
groups = ["core"]
source = [
  "SOURCE",
]
"""
FILES = (
    *(".gitignore", ".dockerignore", ".env", ".python-version", ".venv/bin/python", "README.md"),
    *("data/train.csv", "data/.gitkeep", "dist/app.whl", "outputs/run/log.txt", "weights.tar"),
    *("docs/guide.md", "src/app/main.py", "src/app/__pycache__/main.pyc", "src/app/notes.log"),
    *("src/app/fixtures/kept.log", "last.ckpt", "secret.txt", "venv/bin/python", "wandb/run/x"),
    *("tracked/model.ckpt", "layerline.toml"),
)
IGNORED = ".env\n/venv/\nwandb\n*.ckpt\n*.log\n!src/app/fixtures/*.log\n/data/*\n!/data/.gitkeep\n"
DOCKERIGNORE = "# not in images\nsecret.txt\ndocs\n**/notes*\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place for repositories, with a session for the SDK."""
    place = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERLINE_STORE", str(place / "store"))
        with layerline.connect(workdir=place):
            yield place


@pytest.fixture(scope="module")
def repository(home: Path) -> Path:
    """A repository in which git tracks a file that .gitignore names."""
    place = home / "repository"
    for path in FILES:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(path)
    (place / ".gitignore").write_text(IGNORED)
    (place / ".dockerignore").write_text(DOCKERIGNORE)
    (place / "layerline.toml").write_text(TOML.replace("SOURCE", "nothing/**"))
    git(place, "init", "--quiet")
    git(place, "add", "--force", "tracked/model.ckpt", "README.md")
    return place


@pytest.fixture
async def connected() -> AsyncIterator[None]:
    async with dagger.connection():
        yield


def git(place: Path, *argv: str) -> list[str]:
    done = command.run(["git", "-C", str(place), *argv]).stdout
    return [path for path in done.decode().split("\0") if path]


async def selected(place: Path, *patterns: str) -> Selection:
    loaded = dag.host().directory(str(place), exclude=list(NOT_LOADED))
    return await select(loaded, patterns)


async def files(place: Path, *patterns: str) -> list[str]:
    found = await (await selected(place, *patterns)).files.glob("**")
    return sorted(path for path in found if not path.endswith("/"))


async def refused(place: Path, *patterns: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        await (await selected(place, *patterns)).check("app")
    return str(caught.value)


@pytest.mark.usefixtures("connected")
async def test_the_default_is_what_git_tracks_or_would_track_less_dockerignore(
    repository: Path,
) -> None:
    listed = git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    wanted = {path for path in listed if not path.startswith((".venv/", "docs/"))}
    assert await files(repository, "**") == sorted(
        wanted - {"secret.txt", "src/app/notes.log", "src/app/__pycache__/main.pyc"}
    )
    assert {"tracked/model.ckpt", ".python-version", "dist/app.whl", "weights.tar"} <= wanted


@pytest.mark.usefixtures("connected")
async def test_only_a_pattern_that_starts_with_what_is_ignored_takes_it_in(
    repository: Path,
) -> None:
    wanted = {
        "data/**": ["data/.gitkeep"],
        "data/train.csv": ["data/train.csv"],
        "wandb/**": ["wandb/run/x"],
        "wandb/*/x": ["wandb/run/x"],
        "**.ckpt": ["tracked/model.ckpt"],
        "docs/**": ["docs/guide.md"],
        "secret*": [],
        ".env": [".env"],
        "src/app/*.log": [],
        "src/**": ["src/app/fixtures/kept.log", "src/app/main.py"],
    }
    assert {pattern: await files(repository, pattern) for pattern in wanted} == wanted
    several = ("README.md", "wandb/**", "!README.md", "src/app/*.py")
    assert await files(repository, *several) == ["src/app/main.py", "wandb/run/x"]


@pytest.mark.usefixtures("connected")
async def test_without_git_every_file_is_visible_but_bytecode(home: Path) -> None:
    place = home / "plain"
    (place / "__pycache__").mkdir(parents=True)
    for path in ("a.py", "a.pyc", "__pycache__/a.cpython-311.pyc", ".env.example"):
        (place / path).write_text("")
    assert await files(place, "**") == [".env.example", "a.py"]


@pytest.mark.usefixtures("connected")
async def test_a_pattern_that_selects_nothing_is_an_error_at_its_line(repository: Path) -> None:
    message = await refused(repository, "src/**", "nothing/**")
    assert message == (
        "layerline.toml:8: images.app.source has 'nothing/**', which matches no file: "
        "correct it, or start it with the ignored file or directory that it means"
    )
    assert "did you mean 'src'?" in await refused(repository, "scr/**")
    assert "only ignored files" in await refused(repository, "*.ckpt")
    assert "e.g. 'last.ckpt'" in await refused(repository, "*.ckpt")


@pytest.mark.usefixtures("connected")
async def test_what_looks_like_a_secret_stops_the_build_unless_it_is_named(home: Path) -> None:
    place = home / "secrets"
    (place / "keys").mkdir(parents=True)
    for path in (".env", "keys/id_rsa", "keys/a.pem", "main.py", "layerline.toml"):
        (place / path).write_text(TOML)
    message = await refused(place, "**")
    assert message.splitlines() == [
        f"layerline.toml:7: {path} looks like a secret, and would be in the image app: leave it "
        f'out with "!{path}" in images.app.source or in .dockerignore, or name it in source'
        for path in (".env", "keys/a.pem", "keys/id_rsa")
    ]
    await (await selected(place, "**", "!.env", "keys/id_rsa", "keys/*.pem")).check("app")
    (place / ".dockerignore").write_text(".env\nkeys\n")
    fresh = place.rename(home / "secrets-ignored")
    await (await selected(fresh, "**")).check("app")


@pytest.mark.usefixtures("connected")
async def test_an_image_with_another_source_has_other_files(repository: Path) -> None:
    definition = parse_definition(TOML.replace("SOURCE", "src/**"))
    unused: Any = None
    loaded = dag.host().directory(str(repository), exclude=list(NOT_LOADED))
    assembly = Assembly(
        definition=definition,
        target="cpu",
        partition=unused,
        environment=unused,
        source=loaded,
        selection=await select(loaded),
        projects=unused,
    )
    spec = definition.image("app")
    other = spec.model_copy(update={"source": ("README.md",)})
    assert "README.md" not in await (await assembly.files_of("app", spec)).entries()
    assert await (await assembly.files_of("app", other)).entries() == ["README.md"]


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_the_index_of_git_is_read(tmp_path: Path, version: str) -> None:
    names = {"a", "a b/c", "deep/er/name.py", "deep/er/names.py", "é", "x" * 200}
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    if version == "3":  # which git writes where an entry has an extended flag
        (tmp_path / "intended").write_text("")
        git(tmp_path, "add", "--intent-to-add", "intended")
        names.add("intended")
    git(tmp_path, "update-index", "--index-version", "4" if version == "4" else "2")
    data = (tmp_path / ".git/index").read_bytes()
    assert data[7] == int(version)
    assert tracked_paths(data) == names
    assert tracked_paths(b"DIRC" + data[4:100]) == set()


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("/src/**", "is absolute: use a path relative to the repository, e.g. 'src/**'"),
        ("!/src/**", "is absolute: use a path relative to the repository, e.g. 'src/**'"),
        ("../shared/**", "leads out of the repository"),
        ("src/../../x", "leads out of the repository"),
    ],
)
def test_a_pattern_that_leaves_the_repository_is_refused_at_its_line(
    pattern: str, said: str
) -> None:
    text = TOML.replace("SOURCE", pattern)
    with pytest.raises(DefinitionError) as caught:
        check_patterns(parse_definition(text), text)
    assert str(caught.value).startswith(f"layerline.toml:8: images.app.source has {pattern!r}")
    assert said in str(caught.value)


def test_ignore_files_become_patterns_for_docker() -> None:
    assert from_gitignore(
        {"sub/.gitignore": "x\n", ".gitignore": "# c\n\n/a/\nb\n!c/d\n[!z]*\n"}
    ) == [
        *("a", "**/b", "!c/d", "**/[^z]*", "sub/**/x"),
    ]
    assert parse_dockerignore("\ufeff/a/\n# x\n ! b \n") == ["a", "!b"]


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.local",
        ".env.example",
        "id_rsa",
        "credentials",
        "a.pem",
        "cacert.pem",
        "main.py",
    ],
)
def test_the_doctor_knows_the_same_secrets(name: str) -> None:
    assert secret_names.is_secret(name) is ignore.is_secret(name)
