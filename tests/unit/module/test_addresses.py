"""What a flag's text stands for, asked of a real session."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.engine.module.addresses import read_repository, resolve
from layerline.engine.module.queries import ask, literal
from layerline.errors import LayerlineError, UsageError
from tests.unit.conftest import open_a_session

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Session
    from tests.unit.conftest import OpenSession

__all__ = ["open_a_session"]


async def fetch_fields(session: Session, typename: str, text: str, chosen: str) -> dict[str, Any]:
    """What the API says of the object that a text names."""
    name = await resolve(session, typename, text)
    query = f"{{ node(id: {literal(name)}) {{ ... on {typename} {{ {chosen} }} }} }}"
    node: dict[str, Any] = (await ask(session, query))["node"]
    return node


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, tagged v1."""
    place = tmp_path / "repository"
    (place / "docs").mkdir(parents=True)
    (place / "docs" / "a.txt").write_text("one")
    own = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "."),
        ("commit", "-qm", "x"),
        ("tag", "v1"),
    ):
        command.run(["git", *own, *words], cwd=place)
    return place


@pytest.mark.parametrize("text", ["env://TOKEN", "env:TOKEN", "TOKEN"])
async def test_a_secret_of_the_environment(open_a_session: OpenSession, text: str) -> None:
    async with open_a_session() as session:
        assert await fetch_fields(session, "Secret", text, "plaintext") == {"plaintext": "t0ken"}


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "cmd:cat {}", "cmd://cat {}"])
async def test_a_secret_of_a_file_or_command(
    open_a_session: OpenSession, tmp_path: Path, form: str
) -> None:
    (tmp_path / "secret").write_text("s3cret")
    async with open_a_session() as session:
        text = form.format(tmp_path / "secret")
        assert await fetch_fields(session, "Secret", text, "plaintext") == {"plaintext": "s3cret"}


async def test_a_cache_volume_by_its_name(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        first = await resolve(session, "CacheVolume", "pip")
        assert first == await resolve(session, "CacheVolume", "pip")
        assert first != await resolve(session, "CacheVolume", "npm")
        assert first.startswith("CacheVolume:")


@pytest.mark.parametrize("text", ["{}/s.sock", "unix://{}/s.sock"])
async def test_a_socket(open_a_session: OpenSession, tmp_path: Path, text: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
    async with open_a_session() as session:
        found = await resolve(session, "Socket", text.format(tmp_path))
        assert found == await resolve(session, "Socket", f"{tmp_path}/s.sock")


async def test_a_service_on_a_port_of_the_host(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        chosen = "ports { port protocol }"
        found = await fetch_fields(session, "Service", "tcp://localhost:5432", chosen)
        assert found == {"ports": [{"port": 5432, "protocol": "TCP"}]}


@pytest.mark.parametrize("text", ["localhost:5432", "http://localhost:80", "tcp://localhost"])
async def test_what_is_no_address_of_a_service(open_a_session: OpenSession, text: str) -> None:
    async with open_a_session() as session:
        with pytest.raises(UsageError, match="unsupported service address"):
            await resolve(session, "Service", text)


async def test_a_platform_is_a_text(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        assert await resolve(session, "Platform", "linux/arm64") == "linux/arm64"
        assert (await resolve(session, "Platform", "current")).startswith("linux/")


async def test_a_container_is_an_image(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        with pytest.raises(LayerlineError, match="invalid reference format"):
            await resolve(session, "Container", "no//image")


async def test_a_repository_and_what_is_in_it(
    open_a_session: OpenSession, repository: Path
) -> None:
    async with open_a_session() as session:
        url = f"file://{repository}"
        head = {
            "commit": command.run(["git", "rev-parse", "v1"], cwd=repository).stdout.decode()[:40]
        }
        assert await fetch_fields(session, "GitRepository", url, "head { commit }") == {
            "head": head
        }
        assert await fetch_fields(session, "GitRef", url, "commit") == head
        assert await fetch_fields(session, "GitRef", f"{url}#v1", "commit") == head
        entries = {"entries": ["a.txt"]}
        assert await fetch_fields(session, "Directory", f"{url}#main:docs", "entries") == entries
        everything = await fetch_fields(session, "Directory", f"{url}#v1", "entries")
        assert "docs/" in everything["entries"]
        contents = {"contents": "one"}
        assert await fetch_fields(session, "File", f"{url}#v1:docs/a.txt", "contents") == contents
        with pytest.raises(LayerlineError, match="no file path specified"):
            await resolve(session, "File", f"{url}#v1")


async def test_the_repository_that_a_directory_is(
    open_a_session: OpenSession, repository: Path
) -> None:
    async with open_a_session() as session:
        query = f"{{ host {{ directory(path: {literal(str(repository))}) {{ id }} }} }}"
        directory = (await ask(session, query))["host"]["directory"]["id"]
        assert (await read_repository(session, "GitRepository", directory)).startswith("GitRepo")
        assert (await read_repository(session, "GitRef", directory)).startswith("GitRef:")


async def test_a_type_without_addresses_is_named(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        with pytest.raises(UsageError, match="type Changeset cannot be given"):
            await resolve(session, "Changeset", "x")


@pytest.mark.parametrize("text", ["repository", "./repository", "repository/.git"])
async def test_a_repository_of_this_machine(
    open_a_session: OpenSession, repository: Path, text: str
) -> None:
    commit = command.run(["git", "rev-parse", "HEAD"], cwd=repository).stdout.decode().strip()
    async with open_a_session() as session:
        chosen = "head { commit } uncommitted { isEmpty }"
        assert await fetch_fields(session, "GitRepository", text, chosen) == {
            "head": {"commit": commit},
            "uncommitted": {"isEmpty": True},
        }
        assert await fetch_fields(session, "GitRef", f"{text}#v1", "commit") == {"commit": commit}


async def test_what_cannot_be_a_host_is_an_error(open_a_session: OpenSession) -> None:
    async with open_a_session() as session:
        with pytest.raises(LayerlineError, match=r"\.git"):
            await fetch_fields(session, "GitRepository", ".git", "head { commit }")
