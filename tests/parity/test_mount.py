"""Mounts: what file operations at a mount do, what is listed, owners, secrets among them."""

from __future__ import annotations

import pytest

from tests.parity.conftest import Case, ParitySession, box, directory, sh

pytestmark = pytest.mark.privileged

EXACT = "core/container.go unmounts what is mounted at the very path of a file operation"
LISTED = "core/container.go, MountTargets: secrets are kept apart from mounts"
LOCATED = "core/container.go, locatePath"
OWNERS = "core/container.go, ownership: without a group, the gid is the uid"

ONE = directory('withNewFile(path: "a.txt", contents: "hi") { id }')
FILE = directory('withNewFile(path: "x", contents: "hi") { file(path: "x") { id } }')
SECRET = '{ setSecret(name: "parity-mount", plaintext: "hunter22") { id } }'


def mounting(then: str, path: str = "/m") -> str:
    """A query: a container with a directory mounted, and what is asked of it."""
    return box(f'withMountedDirectory(path: "{path}", source: "$given") {{ {then} }}')


CASES = [
    Case(
        pins="withNewFile at a file mount takes the mount away",
        why="container_test.go:6157 of the Dagger engine, and the protocol's section 5.5",
        given=FILE,
        query=box(
            'withMountedFile(path: "/m/f", source: "$given") '
            '{ withNewFile(path: "/m/f", contents: "new") '
            '{ mounts rootfs { file(path: "/m/f") { contents } } } }'
        ),
        answer={"mounts": [], "rootfs": {"file": {"contents": "new"}}},
    ),
    Case(
        pins="writes of an exec into a mounted file stay with the mount",
        why="the protocol's section 5.1: directory and file mounts are writable",
        given=FILE,
        query=box(
            'withMountedFile(path: "/m/f", source: "$given") { '
            + sh(
                "echo more >> /m/f",
                then='file(path: "/m/f") { contents } rootfs { exists(path: "/m/f") }',
            )
            + " }"
        ),
        answer={"file": {"contents": "himore\n"}, "rootfs": {"exists": False}},
    ),
    Case(
        pins="withoutDirectory of a mount takes the mount away",
        why=EXACT,
        given=ONE,
        query=mounting('withoutDirectory(path: "/m") { mounts exists(path: "/m") }'),
        answer={"mounts": [], "exists": False},
    ),
    Case(
        pins="withSymlink at a mount takes the mount away",
        why=EXACT,
        given=ONE,
        query=mounting('withSymlink(target: "/etc", linkName: "/m") { mounts }'),
        answer=[],
    ),
    Case(
        pins="a file below a cache cannot be written without an exec",
        why=LOCATED,
        given='{ cacheVolume(key: "parity") { id } }',
        query=box(
            'withMountedCache(path: "/c", cache: "$given") '
            '{ withNewFile(path: "/c/x", contents: "") { mounts } }'
        ),
        error="/c/x: cannot retrieve path from cache",
    ),
    Case(
        pins="a directory cannot be merged into a temporary mount",
        why=LOCATED,
        given=ONE,
        query=box(
            'withMountedTemp(path: "/t") { withDirectory(path: "/t", source: "$given") { mounts } }'
        ),
        error="/t: cannot retrieve path from tmpfs",
    ),
    Case(
        pins="secrets are not among the mounts",
        why=LISTED,
        given=SECRET,
        query=box('withMountedSecret(path: "/s", source: "$given") { mounts }'),
        answer=[],
    ),
    Case(
        pins="a mount above a secret leaves the secret",
        why=LISTED,
        given=SECRET,
        query=box(
            'withMountedSecret(path: "/s/x", source: "$given") { withMountedTemp(path: "/s") '
            f"{{ {sh('wc -c < /s/x')} }} }}"
        ),
        answer="8\n",
    ),
    Case(
        pins="a secret with an x bit can be run",
        why="core/container_exec.go mounts noexec only where no x bit is set",
        given=r'{ setSecret(name: "parity-run", plaintext: "#!/bin/sh\necho ran\n") { id } }',
        query=box(f'withMountedSecret(path: "/s", source: "$given", mode: 448) {{ {sh("/s")} }}'),
        answer="ran\n",
    ),
    Case(
        pins="an owner without group brings its own number as group",
        why=OWNERS,
        given=SECRET,
        query=box(
            'withMountedSecret(path: "/s", source: "$given", owner: "games") '
            f"{{ {sh('stat -c %u:%g /s')} }}"
        ),
        answer="5:5\n",
    ),
    Case(
        pins="the owner of a cache owns what its source put there",
        why="the API says so of withMountedCache's owner",
        given=ONE,
        query=box(
            'withMountedCache(path: "/c", cache: "$cache", source: "$given", '
            f'owner: "games") {{ {sh("stat -c %u:%g /c /c/a.txt")} }}'
        ),
        answer="5:5\n5:5\n",
    ),
    Case(
        pins="a mounted file keeps its name also when it changes its owner",
        why="core/container.go, chownFile",
        given=FILE,
        query=box(
            'withMountedFile(path: "/m/f", source: "$given", owner: "daemon") '
            '{ file(path: "/m/f") { name } }'
        ),
        answer="x",
    ),
    Case(
        pins="a mount cannot be written when it is read-only",
        why="the protocol's section 5.1",
        given=ONE,
        query=box(
            'withMountedDirectory(path: "/m", source: "$given", readOnly: true) { '
            + sh("touch /m/x 2>&1 || true")
            + " }"
        ),
        answer="touch: cannot touch '/m/x': Read-only file system\n",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(session: ParitySession, case: Case) -> None:
    if "$cache" in case.query:
        cache = session.identity('{ cacheVolume(key: "parity-owner") { id } }')
        query = case.query.replace("$cache", cache)
        case = Case(pins=case.pins, why=case.why, query=query, given=case.given, answer=case.answer)
    session.check(case)
