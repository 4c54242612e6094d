"""Modules in git repositories, served by git itself on the loopback."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from layerline.engine.image.registry.reach import Reach
from layerline.engine.module.dependencies import find_dependency
from layerline.engine.module.git_addresses import parse_reference
from layerline.engine.module.git_modules import GitModules
from layerline.engine.module.loading import load_module
from layerline.engine.module.source import Dependency, read_config, read_copied
from layerline.engine.store.store import Store
from layerline.errors import LayerlineError, ModuleError
from layerline.settings import Settings
from tests import git_server
from tests.unit.module.test_dependencies import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.engine.module.source import ModuleConfig


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[GitModules]:
    settings = Settings.from_environ({"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    with Store.open(tmp_path / "store") as store:
        yield GitModules(store=store, settings=settings)


def fetch(modules: GitModules, text: str, pin: str = "") -> ModuleConfig:
    reference = parse_reference(text)
    assert reference is not None
    return modules.fetch(reference, pin)


@pytest.mark.parametrize(
    ("text", "remote", "candidates", "version"),
    [
        (
            "github.com/owner/name/sub/dir@v1.2.3",
            *("https://github.com/", [("owner/name", "sub/dir")], "v1.2.3"),
        ),
        ("https://host.net/a/b.git@main", "https://host.net/", [("a/b.git", "")], "main"),
        ("git@host.net:a/b.git/sub", "git@host.net:", [("a/b.git", "sub")], ""),
        ("ssh://git@host.net/a/b.git@sub/v1", "ssh://git@host.net/", [("a/b.git", "")], "sub/v1"),
        ("gitlab.com/a/b/c", "https://gitlab.com/", [("a/b", "c"), ("a/b/c", "")], ""),
    ],
)
def test_a_reference_names_repository_directory_and_version(
    text: str, remote: str, candidates: list[tuple[str, str]], version: str
) -> None:
    found = parse_reference(text)
    assert found is not None
    assert list(found.candidates()) == [(remote + path, sub) for path, sub in candidates]
    assert found.version == version


@pytest.mark.parametrize("text", ["base", "../base", "./a.b", "/abs/path", "lib/shouter", "."])
def test_a_path_is_no_reference(text: str) -> None:
    assert parse_reference(text) is None


def test_a_pinned_commit_is_fetched_once_and_needs_no_network(
    modules: GitModules, tmp_path: Path
) -> None:
    first = git_server.commit(write(tmp_path / "served" / "a.git", "first"), "v1")
    write(tmp_path / "served" / "a.git", "second")
    git_server.commit(tmp_path / "served" / "a.git")
    with git_server.serve(tmp_path / "served") as at:
        text = f"http://{at}/a.git@v1"
        assert fetch(modules, f"http://{at}/a.git").name == "second"
        assert fetch(modules, text).name == "first"
        assert fetch(modules, text, first).name == "first"
    assert fetch(modules, text, first).name == "first"


def test_a_version_of_a_subdirectory_has_its_own_tags(modules: GitModules, tmp_path: Path) -> None:
    """As Dagger matches versions of modules in a repository of several."""
    repository = tmp_path / "served" / "a.git"
    write(repository / "sub", "old")
    git_server.commit(repository, "sub/v1")
    write(repository / "sub", "new")
    git_server.commit(repository, "v1")
    with git_server.serve(tmp_path / "served") as at:
        assert fetch(modules, f"http://{at}/a.git/sub@v1").name == "old"


def test_an_installed_module_has_the_full_name_of_its_version(
    modules: GitModules, tmp_path: Path
) -> None:
    # As dagger.json is to have it: Version of gitModuleSource in modulesource.go of v0.21.8.
    write(tmp_path / "served" / "a.git" / "sub", "module")
    commit = git_server.commit(tmp_path / "served" / "a.git", "sub/v1")
    with git_server.serve(tmp_path / "served") as at:
        url = f"http://{at}/a.git/sub"
        versions = [fetch(modules, url + text).origin for text in ("", "@v1", f"@{commit}")]
    assert [each.version for each in versions if each] == ["main", "sub/v1", commit]


def test_a_private_repository_is_read_with_the_callers_credentials(
    modules: GitModules, tmp_path: Path
) -> None:
    git_server.commit(write(tmp_path / "served" / "a.git", "private"))
    with git_server.serve(tmp_path / "served", password="secret") as at:
        with pytest.raises(ModuleError, match="failed to resolve git src"):
            fetch(modules, f"http://{at}/a.git")
        (tmp_path / ".gitconfig").write_text("[credential]\n\thelper = store\n")
        (tmp_path / ".git-credentials").write_text(f"http://user:secret@{at}\n")
        assert fetch(modules, f"http://{at}/a.git").name == "private"


def test_a_dependency_by_path_stays_in_the_repository(modules: GitModules, tmp_path: Path) -> None:
    repository = tmp_path / "served" / "a.git"
    write(repository / "one", "one", "../two")
    write(repository / "two", "two")
    (repository / "outside").symlink_to(write(tmp_path / "of-the-host", "stolen"))
    git_server.commit(repository)
    with git_server.serve(tmp_path / "served") as at:
        config = fetch(modules, f"http://{at}/a.git/one")
        (known,) = config.dependencies
        assert find_dependency(config, known, modules.fetch).name == "two"
        for source in ("../../../x", "../outside"):
            with pytest.raises(ModuleError, match=r"escapes|leads out"):
                find_dependency(config, Dependency(name="", source=source), modules.fetch)
    shutil.rmtree(tmp_path / "of-the-host")


@pytest.mark.parametrize("name", ["dagger.json", "pyproject.toml"])
def test_a_link_to_a_file_of_the_host_is_not_read(
    modules: GitModules, tmp_path: Path, name: str
) -> None:
    repository = write(tmp_path / "served" / "a.git", "a")
    (tmp_path / "host").write_text('{"name": "stolen", "sdk": "python"}')
    (repository / name).unlink(missing_ok=True)
    (repository / name).symlink_to(tmp_path / "host")
    git_server.commit(repository)
    with git_server.serve(tmp_path / "served") as at, pytest.raises(ModuleError, match="by a link"):
        fetch(modules, f"http://{at}/a.git")


def test_a_default_path_does_not_follow_a_link_out(modules: GitModules, tmp_path: Path) -> None:
    repository = write(tmp_path / "served" / "a.git", "a")
    (repository / "data").symlink_to("/etc")
    git_server.commit(repository)
    with git_server.serve(tmp_path / "served") as at:
        config = fetch(modules, f"http://{at}/a.git")
        with pytest.raises(ModuleError, match="by a link"):
            config.resolve("data")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a.git@none", 'repository does not contain ref "none"'),
        ("none.git", "repository not found: "),
        ("a.git/none", "no dagger.json in none"),
    ],
)
def test_what_is_not_there_is_named(
    modules: GitModules, tmp_path: Path, path: str, message: str
) -> None:
    git_server.commit(write(tmp_path / "served" / "a.git", "a"))
    with git_server.serve(tmp_path / "served") as at, pytest.raises(ModuleError, match=message):
        fetch(modules, f"http://{at}/{path}")


def test_module_code_has_neither_credentials_nor_the_loopback(
    modules: GitModules, tmp_path: Path
) -> None:
    git_server.commit(write(tmp_path / "served" / "a.git", "private"))
    (tmp_path / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    with git_server.serve(tmp_path / "served", password="secret") as at:
        (tmp_path / ".git-credentials").write_text(f"http://user:secret@{at}\n")
        port = int(at.rpartition(":")[2])
        for reach in (Reach(), Reach(frozenset({port}))):
            theirs = GitModules(store=modules.store, settings=modules.settings, reach=reach)
            with pytest.raises(LayerlineError):
                fetch(theirs, f"http://{at}/a.git")


def test_volumes_of_modules_of_one_name_are_apart_unless_they_are_local(
    modules: GitModules, tmp_path: Path
) -> None:
    # namespaceFromModule in core/schema/cache.go of Dagger: name, and repository or digest.
    for name in ("a", "b"):
        repository = tmp_path / "served" / f"{name}.git"
        write(repository, "ci")
        git_server.commit(write(repository / "sub", "ci").parent)
    local = read_config(write(tmp_path / "local", "ci"))
    copied = [read_copied(write(tmp_path / f"copied-{n}", "ci"), ".") for n in range(2)]
    (tmp_path / "copied-1" / "code.py").write_text("# other code\n")
    with git_server.serve(tmp_path / "served") as at:
        fetched = [
            fetch(modules, f"http://{at}/{name}") for name in ("a.git", "b.git", "a.git/sub")
        ]
        again = fetch(modules, f"http://{at}/a.git@main")

    def namespace(config: ModuleConfig) -> str:
        return load_module(config, modules.store, modules.fetch).namespace

    assert namespace(local) == "mod(ci)"
    assert namespace(again) == namespace(fetched[0]) == f"mod(ci http://{at}/a.git)"
    assert len({namespace(each) for each in (local, *copied, *fetched)}) == 6
