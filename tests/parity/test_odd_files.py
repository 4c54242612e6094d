"""Devices, FIFOs and sockets of an image: the engine opens none, so nothing blocks or has effects.

The Dagger engine answers for them as for any file; what it reads of a device is the host's.
"""

from __future__ import annotations

import pytest

from tests.capabilities import no_device_nodes
from tests.parity.conftest import ParitySession, box, sh

pytestmark = pytest.mark.privileged

# Only root of the host makes devices.
DEVICES = "" if no_device_nodes() else "mknod disk b 254 0 && mknod zero c 1 5 && "
MAKE = (
    f"mkdir /odd && cd /odd && mkfifo pipe && {DEVICES}"
    "ln -s pipe topipe && ln -s zero tozero && perl -MSocket -e "
    "'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un(\"sock\"))'"
)
ROOT = ", insecureRootCapabilities: true"
NAMES = ("pipe", "disk", "zero", "sock", "topipe", "tozero")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "selection",
    [
        'file(path: "/odd/{name}") {{ contents }}',
        'file(path: "/odd/{name}") {{ export(path: "exported") }}',
        'file(path: "/odd/{name}") {{ asEnvFile {{ variables {{ name }} }} }}',
        'file(path: "/odd/{name}") {{ asJSON {{ contents }} }}',
        'import(source: "{file}") {{ id }}',
        'directory(path: "/odd") {{ dockerBuild(dockerfile: "{name}") {{ id }} }}',
        'withExec(args: ["cat"], redirectStdin: "/odd/{name}") {{ stdout }}',
        'withExec(args: ["echo", "x"], redirectStdout: "/odd/{name}") {{ stdout }}',
    ],
)
def test_none_is_opened(
    request: pytest.FixtureRequest, session: ParitySession, selection: str, name: str
) -> None:
    if name in ("disk", "zero", "tozero"):
        request.getfixturevalue("device_nodes")
    file = ""
    if "{file}" in selection:
        file = session.identity(box(sh(MAKE, ROOT, then=f'file(path: "/odd/{name}") {{ id }}')))
    error = session.error(box(sh(MAKE, ROOT, then=selection.format(name=name, file=file))))
    assert "not a regular file" in error["message"]
    assert not (session.workdir / "exported").exists()


def test_what_walks_over_them_opens_none(session: ParitySession) -> None:
    session.answer(box(sh(MAKE, ROOT, then='directory(path: "/odd") { export(path: "odd") }')))
    search = 'directory(path: "/odd") { search(pattern: "x") { filePath } }'
    assert session.answer(box(sh(MAKE, ROOT, then=search))) == []
    entries = 'directory(path: "/odd") { asGit { head { commit } } }'
    assert session.error(box(sh(MAKE, ROOT, then=entries)))["message"]
