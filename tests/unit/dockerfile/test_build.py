"""Builds without a RUN need no container: files, configuration and keys are checked in process."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.api.execute import answer
from tests.unit.image.test_sparse_map import version_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from layerline.engine.api.session import Session

BUILD = """query($path: String!, $target: String, $args: [BuildArg!]) {
  host { directory(path: $path) { dockerBuild(target: $target, buildArgs: $args) { %s } } }
}"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with a few files."""
    place = tmp_path / "context"
    (place / "d" / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c.md", "d/x", "d/sub/y"):
        (place / name).write_text(name)
    return place


class Builds:
    """Builds Dockerfiles in one context and reads the result."""

    def __init__(self, session: Session, place: Path) -> None:
        self.session = session
        self.place = place

    async def ask(self, dockerfile: str, fields: str, **variables: object) -> dict[str, Any]:
        (self.place / "Dockerfile").write_text(dockerfile)
        given = {"path": str(self.place), **variables}
        got = await answer(BUILD % fields, self.session.call(), variables=given)
        return got.body

    async def build(self, dockerfile: str, fields: str, **variables: object) -> dict[str, Any]:
        body = await self.ask(dockerfile, fields, **variables)
        assert "errors" not in body, body
        found: dict[str, Any] = body["data"]["host"]["directory"]["dockerBuild"]
        return found

    async def files(self, dockerfile: str, **variables: object) -> list[str]:
        found = await self.build(dockerfile, 'rootfs { glob(pattern: "**") }', **variables)
        names: list[str] = found["rootfs"]["glob"]
        return names

    async def error(self, dockerfile: str, **variables: object) -> str:
        body = await self.ask(dockerfile, "workdir", **variables)
        message: str = body["errors"][0]["message"]
        return message


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ("COPY a.txt /new", ["new"]),
        ("COPY a.txt /new/", ["new/", "new/a.txt"]),
        ("COPY d /e", ["e/", "e/sub/", "e/sub/y", "e/x"]),
        ("COPY *.txt /t/", ["t/", "t/a.txt", "t/b.txt"]),
        ("COPY d/s* /t", ["t/", "t/y"]),
        ("COPY nothing* /t/", []),
        ("COPY --exclude=*.md --exclude=d . /t", ["t/", "t/Dockerfile", "t/a.txt", "t/b.txt"]),
        ("COPY --parents d/sub/y /t/", ["t/", "t/d/", "t/d/sub/", "t/d/sub/y"]),
        ("COPY --parents d/./sub/* /t/", ["t/", "t/sub/", "t/sub/y"]),
        ("COPY <<E /t/\ntext\nE", ["t/", "t/E"]),
        ("WORKDIR /w/x\nCOPY a.txt .", ["w/", "w/x/", "w/x/a.txt"]),
        ("COPY a.txt /t/\nCOPY b.txt /t", ["t/", "t/a.txt", "t/b.txt"]),
    ],
)
async def test_where_copies_go(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]],
    context: Path,
    copy: str,
    expected: list[str],
) -> None:
    async with open_a_session() as session:
        files = await Builds(session, context).files(f"FROM scratch\n{copy}\n")
    assert sorted(files) == sorted(expected)


async def test_configuration(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    dockerfile = (
        'FROM scratch\nARG V=1\nENV A=$V B="x y"\nLABEL b=$A a=2\nEXPOSE 80 53/udp\n'
        'WORKDIR /w\nWORKDIR x\nUSER u\nCMD ["c"]\nENTRYPOINT ["e"]\n'
    )
    fields = (
        "envVariables { name value } labels { name value } exposedPorts { port protocol } "
        "user workdir entrypoint defaultArgs"
    )
    async with open_a_session() as session:
        found = await Builds(session, context).build(dockerfile, fields)
    variables = {each["name"]: each["value"] for each in found["envVariables"]}
    assert (variables["A"], variables["B"]) == ("1", "x y")
    assert "PATH" in variables
    assert found["labels"] == [{"name": "a", "value": "2"}, {"name": "b", "value": "1"}]
    assert [port["port"] for port in found["exposedPorts"]] == [53, 80]
    assert (found["user"], found["workdir"]) == ("u", "/w/x")
    assert (found["entrypoint"], found["defaultArgs"]) == (["e"], ["c"])


async def test_an_entrypoint_drops_the_command_of_its_base(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    async with open_a_session() as session:
        found = await Builds(session, context).build(
            'FROM scratch AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]\n', "entrypoint defaultArgs"
        )
    assert found == {"entrypoint": ["e"], "defaultArgs": []}


async def test_stages_targets_and_arguments(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    dockerfile = (
        "ARG BASE=scratch\nFROM ${BASE} AS one\nARG F=a.txt\nCOPY $F /one\nFROM scratch\n"
        "COPY --from=one /one /two\n"
    )
    async with open_a_session() as session:
        builds = Builds(session, context)
        assert await builds.files(dockerfile) == ["two"]
        assert await builds.files(dockerfile, target="one") == ["one"]
        given = [{"name": "F", "value": "b.txt"}]
        found = await builds.build(dockerfile, 'file(path: "/two") { contents }', args=given)
    assert found["file"]["contents"] == "b.txt"


async def test_triggers_run_in_the_next_stage_only(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    dockerfile = "FROM scratch AS a\nONBUILD COPY a.txt /x\nFROM a AS b\nFROM b\nCOPY b.txt /y\n"
    async with open_a_session() as session:
        builds = Builds(session, context)
        assert await builds.files(dockerfile, target="a") == []
        assert await builds.files(dockerfile, target="b") == ["x"]
        assert await builds.files(dockerfile) == ["x", "y"]


async def test_what_is_ignored_is_not_in_the_context(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    (context / ".dockerignore").write_text("# comment\n*\n!d\nd/sub\n!d/sub/y\n")
    async with open_a_session() as session:
        files = await Builds(session, context).files("FROM scratch\nCOPY . /\n")
    assert files == ["d/", "d/sub/", "d/sub/y", "d/x"]


async def test_two_stars_before_a_text_match_in_any_directory(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    """As moby/patternmatcher's `**file`: ignore files, COPY --exclude and the API's patterns."""
    (context / "d" / "y.pyc").write_text("")
    (context / ".dockerignore").write_text("*\n!**y\n!**.pyc\n")
    fields = """rootfs {
        glob(pattern: "**.pyc") filter(exclude: ["**.pyc"]) { glob(pattern: "**") }
    }"""
    async with open_a_session() as session:
        found = await Builds(session, context).build("FROM scratch\nCOPY . /\n", fields)
    assert found["rootfs"] == {"glob": ["d/y.pyc"], "filter": {"glob": ["d/", "d/sub/", "d/sub/y"]}}
    async with open_a_session() as session:
        excluded = "FROM scratch\nCOPY --exclude=**.pyc . /\n"
        assert await Builds(session, context).files(excluded) == ["d/", "d/sub/", "d/sub/y"]


async def test_an_ignore_file_of_the_dockerfile_counts_instead(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    (context / ".dockerignore").write_text("*\n")
    (context / "Dockerfile.dockerignore").write_text("**\n!a.txt\n")
    async with open_a_session() as session:
        files = await Builds(session, context).files("FROM scratch\nCOPY . /\n")
    assert files == ["a.txt"]


async def test_add_unpacks_archives_and_copy_does_not(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    for name, kind in (("x.tar", "w"), ("x.tgz", "w:gz"), ("x.txz", "w:xz")):
        with tarfile.open(context / name, kind) as archive:  # type: ignore[call-overload]
            member = tarfile.TarInfo(f"in-{name}")
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    sparse = b"".join([*version_one(b"1\n0\n4\n", b"abcd"), bytes(1024)])
    (context / "sparse.tar").write_bytes(sparse)
    async with open_a_session() as session:
        files = await Builds(session, context).files(
            "FROM scratch\nADD x.tar x.tgz x.txz sparse.tar /d/\nADD a.txt /f\nCOPY x.tar /\n"
        )
    assert files == ["d/", "d/in-x.tar", "d/in-x.tgz", "d/in-x.txz", "d/real", "f", "x.tar"]


async def test_add_leaves_directories_that_an_archive_does_not_name_as_they_are(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    """As moby's pkg/archive, which makes a parent only where Lstat finds none; seen in 20.10."""
    tree = context / "tree"
    (tree / "private").mkdir(parents=True)
    (tree / "private").chmod(0o700)
    (tree / "usr/lib/deep").mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    with tarfile.open(context / "x.tar", "w") as archive:
        for name in ("private/new", "lib/one", "lib/deep/two", "other/three"):
            archive.addfile(tarfile.TarInfo(name))
    fields = """rootfs {
        private: stat(path: "private") { permissions }
        lib: stat(path: "lib", doNotFollowSymlinks: true) { fileType }
        glob(pattern: "**")
    }"""
    async with open_a_session() as session:
        dockerfile = "FROM scratch\nCOPY tree /\nADD x.tar /\n"
        found = (await Builds(session, context).build(dockerfile, fields))["rootfs"]
    assert found["private"]["permissions"] == 0o700
    assert found["lib"]["fileType"] == "SYMLINK"
    assert {"usr/lib/one", "usr/lib/deep/two", "private/new", "other/three"} <= {*found["glob"]}


async def test_add_links_to_files_that_are_there_already(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    """Moby's pkg/archive calls os.Link below the destination, and sets the entry's own mode.

    docker 28.2.2 made the same files of it.
    """
    tree = context / "tree" / "opt" / "lib"
    tree.mkdir(parents=True)
    (tree / "real").write_text("here")
    (tree / "real").chmod(0o640)
    with tarfile.open(context / "x.tar", "w") as archive:
        for name, target in (("lib/again", "lib/real"), ("more/third", "lib/again")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname, link.mode = tarfile.LNKTYPE, target, 0o755
            archive.addfile(link)
    with tarfile.open(context / "out.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.LNKTYPE, "tree"  # a directory of the destination
        archive.addfile(link)
    fields = """rootfs {
        file(path: "opt/more/third") { contents }
        stat(path: "opt/lib/real") { permissions }
        glob(pattern: "opt/**")
    }"""
    async with open_a_session() as session:
        builds = Builds(session, context)
        dockerfile = "FROM scratch\nCOPY tree /\nADD x.tar /opt/\n"
        found = (await builds.build(dockerfile, fields))["rootfs"]
        assert found["file"]["contents"] == "here"
        assert found["stat"]["permissions"] == 0o755
    async with open_a_session() as session:
        dockerfile = "FROM scratch\nCOPY tree /tree\nADD out.tar /\n"
        body = await Builds(session, context).ask(dockerfile, fields)
        assert "a hard link to 'tree', which is missing" in body["errors"][0]["message"]


async def test_a_copy_is_made_again_only_when_its_own_files_change(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    async def identity() -> str:
        async with open_a_session() as session:
            found = await Builds(session, context).build("FROM scratch\nCOPY a.txt d /x/\n", "id")
        made: str = found["id"]
        return made

    first = await identity()
    (context / "c.md").write_text("changed")
    assert await identity() == first
    (context / "d" / "x").write_text("changed")
    assert await identity() != first


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM scratch\nCOPY nope /f\n", '"/nope": not found'),
        ("FROM scratch\nCOPY http://x/y /f\n", "source can't be a URL for COPY"),
        ("FROM scratch\nADD https://x/y.git /f\n", "ADD of a git repository is not supported"),
        ("FROM scratch\nCOPY --chmod=999 a.txt /f\n", "invalid chmod parameter: '999'"),
        ("FROM scratch\nCOPY --chown=nobody a.txt /f\n", "unable to find user nobody"),
        ("FROM scratch\nEXPOSE abc\n", "invalid containerPort: abc"),
        ("FROM scratch\nSTOPSIGNAL SIGNOPE\n", "invalid signal: SIGNOPE"),
        ("FROM scratch\nRUN --network=none x\n", "RUN --network=none is not supported"),
        ("FROM scratch\nRUN --mount=target=/,source=d x\n", 'invalid mount target "/"'),
        (
            "FROM scratch\nRUN --mount=type=secret,id=t,required x\n",
            'secret "t" is required but was not provided',
        ),
        ("# syntax=other/language\nFROM scratch\n", "frontend other/language is not supported"),
    ],
)
async def test_mistakes_are_told(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]],
    context: Path,
    dockerfile: str,
    message: str,
) -> None:
    async with open_a_session() as session:
        assert message in await Builds(session, context).error(dockerfile)


async def test_a_later_stage_is_no_source(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], context: Path
) -> None:
    dockerfile = "FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\n"
    async with open_a_session() as session:
        message = await Builds(session, context).error(dockerfile, target="a")
    assert message.startswith('cannot copy from stage "b", it needs to be defined before')


async def test_a_missing_dockerfile_is_told(
    open_a_session: Callable[[], AbstractAsyncContextManager[Session]], tmp_path: Path
) -> None:
    async with open_a_session() as session:
        body = await answer(
            BUILD % "id", session.call(), variables={"path": str(tmp_path), "target": ""}
        )
    message = body.body["errors"][0]["message"]
    assert message == "failed to read dockerfile: open Dockerfile: no such file or directory"
