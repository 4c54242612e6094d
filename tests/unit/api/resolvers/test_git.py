"""Repositories of the host and of directories, and their refs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.engine.trees import git_program
from tests.unit.conftest import ask, fail

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import OpenSession


@pytest.fixture
def head(tmp_path: Path) -> str:
    """The commit of HEAD of a repository in `work`, whose files were changed afterwards."""
    work = tmp_path / "work"
    work.mkdir()
    git_program.run(["init", "--quiet"], cwd=work)
    for name in ("README", "gone", "same"):
        (work / name).write_text(name)
    (work / ".gitignore").write_text("*.log\n")
    git_program.run(["add", "."], cwd=work)
    git_program.run(["commit", "--quiet", "-m", "first"], cwd=work)
    (work / "README").write_text("changed")
    (work / "gone").unlink()
    (work / "new").write_text("new")
    (work / "out.log").write_text("log")
    return git_program.run(["rev-parse", "HEAD"], cwd=work).stdout.decode().strip()


async def test_what_is_not_committed_is_a_changeset(open_a_session: OpenSession, head: str) -> None:
    query = """{ host { directory(path: "work") { asGit { uncommitted {
      addedPaths modifiedPaths removedPaths } head { commit ref } } } } }"""
    async with open_a_session() as session:
        found = (await ask(session, query))["host"]["directory"]["asGit"]
    assert found["uncommitted"] == {
        "addedPaths": ["new"],
        "modifiedPaths": ["README"],
        "removedPaths": ["gone"],
    }
    assert found["head"] == {"commit": head, "ref": "refs/heads/main"}


async def test_a_path_of_the_host_is_a_repository(open_a_session: OpenSession, head: str) -> None:
    query = """{ git(url: "./work") { url branches ref(name: "main") { commit
      tree(discardGitDir: true) { entries file(path: "README") { contents } }
      kept: tree { asGit { head { commit } } } } } }"""
    async with open_a_session() as session:
        found = (await ask(session, query))["git"]
    assert found["branches"] == ["main"]
    assert found["ref"]["tree"]["entries"] == [".gitignore", "README", "gone", "same"]
    assert found["ref"]["tree"]["file"]["contents"] == "README"
    assert found["ref"]["kept"]["asGit"]["head"]["commit"] == head


async def test_addresses_name_repositories_and_what_is_in_them(
    open_a_session: OpenSession, head: str, tmp_path: Path
) -> None:
    query = f"""{{
      ref: address(value: "work#main") {{ gitRef {{ commit }} }}
      repository: address(value: "file://{tmp_path}/work") {{ gitRepository {{ tags }} }}
      directory: address(value: "work") {{ directory(exclude: [".git"]) {{ entries }} }}
      file: address(value: "work/new") {{ file {{ contents }} }}
      secret: address(value: "env:TOKEN") {{ secret {{ plaintext }} }} }}"""
    async with open_a_session() as session:
        found = await ask(session, query)
    assert found["ref"]["gitRef"]["commit"] == head
    assert found["repository"]["gitRepository"]["tags"] == []
    assert "new" in found["directory"]["directory"]["entries"]
    assert found["file"]["file"]["contents"] == "new"
    assert found["secret"]["secret"]["plaintext"] == "t0ken"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ('{ git(url: "./none") { head { commit } } }', "does not"),
        ('{ git(url: "gopher://x/y") { url } }', "failed to parse Git URL"),
        ('{ git(url: "https://x/y") { commit(id: "abc") { commit } } }', "invalid commit SHA"),
        ("{ directory { asGit { head { commit } } } }", "not a git repository"),
        ('{ address(value: "https://h/r#main") { gitRepository { url } } }', "cannot contain ref"),
        ('{ address(value: "https://h/r#main") { file { name } } }', "no file path specified"),
        ('{ address(value: "http://h:1") { service { id } } }', "unsupported service address"),
        ('{ address(value: "") { value } }', "empty address"),
    ],
)
async def test_what_is_wrong_is_said(open_a_session: OpenSession, query: str, message: str) -> None:
    async with open_a_session() as session:
        assert message in (await fail(session, query))["message"]
