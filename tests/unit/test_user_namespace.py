"""The user namespace of an ordinary user, entered by real processes of one."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import layerline
from layerline import command, user_namespace
from layerline.rootless import IdRange, read_ranges
from tests.ordinary_user import OrdinaryUser, ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = str(Path(layerline.__file__).parents[1])
START = "import os, sys\nfrom layerline import host\nhost.enter_namespaces()\n"


@pytest.fixture
def user(container_user: None) -> Iterator[OrdinaryUser]:  # noqa: ARG001
    with ordinary_user() as made:
        yield made


def start(user: OrdinaryUser, script: str) -> command.Process[bytes]:
    return command.start(
        user.argv([sys.executable, "-c", script]),
        env=user.environ({"PYTHONPATH": SOURCES}),
        cwd=user.home,
        stdout=command.PIPE,
        stderr=command.PIPE,
    )


def test_the_user_is_root_and_its_subordinate_ids_are_the_others(user: OrdinaryUser) -> None:
    script = START + (
        'for name in ("uid_map", "gid_map"):\n'
        '    print(open(f"/proc/self/{name}").read().split())\n'
        'open("mine", "w").close(); open("other", "w").close(); os.chown("other", 33, 65534)\n'
        "print(os.getuid(), os.getgid(), os.getpid()); sys.exit(3)"
    )
    out, err = start(user, script).communicate(timeout=20)
    maps = [
        user_namespace.id_map(own, ranges)
        for own, ranges in ((user.uid, user.uids), (user.gid, user.gids))
    ]
    assert out.decode().splitlines() == [*map(str, maps), "0 0 2"], err
    mine, other = (user.home / name for name in ("mine", "other"))
    assert (mine.stat().st_uid, mine.stat().st_gid) == (user.uid, user.gid)
    # Inside, 1 is the first subordinate id.
    first = user.uids[0].first, user.gids[0].first
    assert (other.stat().st_uid, other.stat().st_gid) == (first[0] + 32, first[1] + 65533)


def test_the_status_is_that_of_the_inner_process(user: OrdinaryUser) -> None:
    process = start(user, START + "sys.exit(3)")
    process.communicate(timeout=20)
    assert process.returncode == 3


def test_signals_reach_the_inner_process_and_none_is_left(user: OrdinaryUser) -> None:
    script = START + (
        "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(41))\n"
        'print("up", flush=True); time.sleep(60)'
    )
    process = start(user, script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 41
    assert processes_of(user) == []


def test_everything_dies_with_the_outer_process(user: OrdinaryUser) -> None:
    process = start(user, START + 'import time\nprint("up", flush=True); time.sleep(60)')
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert processes_of(user)
    process.kill()
    process.communicate(timeout=20)
    deadline = time.monotonic() + 5
    while processes_of(user) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes_of(user) == []


def processes_of(user: OrdinaryUser) -> list[int]:
    """The processes whose working directory is the user's home."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if place.readlink() == user.home:
                found.append(int(place.parent.name))
        except OSError:  # it ended
            continue
    return found


def test_without_subordinate_ids_the_command_that_gives_some_is_named(
    container_user: None,  # noqa: ARG001
    machine_root: None,  # noqa: ARG001
) -> None:
    script = (
        "from layerline import host\nfrom layerline.errors import PrivilegeMissing\n"
        "try:\n    host.enter_namespaces()\nexcept PrivilegeMissing as exc:\n    print(exc)"
    )
    with ordinary_user(subordinate=False) as user:
        out, err = start(user, script).communicate(timeout=20)
    assert "ordinary has none in /etc/subuid" in out.decode(), err
    added = "--add-subuids 100000-165535 --add-subgids 100000-165535"
    assert f"'sudo usermod {added} ordinary'" in out.decode()


def test_ranges_are_read_as_subuid_has_them(tmp_path: Path) -> None:
    # subuid(5): login name or UID, first id, count.
    path = tmp_path / "subuid"
    path.write_text("# comment\nother:1:2\n4242:100000:65536\n4242:300000:10\n4242:x:1\nbroken\n")
    assert read_ranges(path, 4242) == [IdRange(100000, 65536), IdRange(300000, 10)]
    assert read_ranges(tmp_path / "missing", 4242) == []


def test_the_map_has_no_gaps() -> None:
    triples = user_namespace.id_map(1000, [IdRange(100000, 65536), IdRange(300000, 10)])
    assert " ".join(triples) == "0 1000 1 1 100000 65536 65537 300000 10"
