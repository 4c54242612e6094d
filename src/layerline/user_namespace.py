"""A user namespace in which an ordinary user is root, with subordinate ids as the other users.

Invariant: 0 inside is the user, 1 and up are the user's subordinate ids, without gaps. Nothing is
gained outside: every file that is written belongs to the user or to one of those ids.
https://man7.org/linux/man-pages/man7/user_namespaces.7.html
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command, kernel, rootless
from layerline.errors import CommandFailed, PrivilegeMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

ETC = Path("/etc")
_MAPPED = b"m"
_CALLER: list[tuple[int, int]] = []  # uid and gid outside, in the process that became root
_DIAGNOSE = "see './layerline doctor --check user-namespaces --check subordinate-ids'"


def fork_as_root() -> int:
    """Fork; the child is root of a new user namespace and dies with this process.

    Returns the child's number in this process, 0 in the child. This process must have one thread.
    Raises PrivilegeMissing where the user has no subordinate ids or the kernel refuses, and
    ProgramMissing without newuidmap.
    """
    uid, gid = os.geteuid(), os.getegid()
    maps = [
        (command.require(program, package="uidmap"), id_map(outside, ranges(file, uid)))
        for program, file, outside in (("newuidmap", "subuid", uid), ("newgidmap", "subgid", gid))
    ]
    unshared, report = os.pipe()
    mapped, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(unshared)
        os.close(release)
        _become_root(report, mapped)
        _CALLER.append((uid, gid))
        return 0
    os.close(report)
    os.close(mapped)
    try:
        _map_ids(child, os.read(unshared, 16), maps)
        os.write(release, _MAPPED)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(unshared)
        os.close(release)
    return child


def as_caller(argv: Sequence[str | Path]) -> list[str | Path]:
    """The command line that runs a program of the user's with the user's own ids.

    Where this process did not have to become root, it is the program's own.
    """
    if not _CALLER:
        return list(argv)
    uid, gid = _CALLER[0]
    return ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--", *argv]


def ranges(file: str, uid: int, etc: Path = ETC) -> list[rootless.IdRange]:
    """The user's ranges in `subuid` or `subgid`; raises PrivilegeMissing where there are none."""
    found = rootless.read_ranges(etc / file, uid)
    if not found:
        message = (
            f"building images without root needs subordinate ids, but {rootless.user_name(uid)} "
            f"has none in {etc / file}: get some with "
            f"'{rootless.command_for_ranges(uid, etc)}', or run the same command with sudo"
        )
        raise PrivilegeMissing(message)
    return found


def id_map(outside: int, subordinate: Sequence[rootless.IdRange]) -> list[str]:
    """The triples (inside, outside, count) that newuidmap and newgidmap take."""
    triples = [(0, outside, 1)]
    inside = 1
    for each in subordinate:
        triples.append((inside, each.first, each.count))
        inside += each.count
    return [str(number) for triple in triples for number in triple]


def refusal(reason: str) -> PrivilegeMissing:
    """The error of a kernel that refuses, with the settings that make it do so."""
    hindrances = rootless.find_hindrances()
    why = f" ({', '.join(each.text for each in hindrances)})" if hindrances else ""
    message = (
        f"building images without root needs a user namespace, which was refused{why}: {reason}: "
        f"{_DIAGNOSE}, or run the same command with sudo"
    )
    return PrivilegeMissing(message)


def _become_root(report: int, mapped: int) -> None:
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except OSError as exc:
        os.write(report, os.strerror(exc.errno or 0).lower().encode())
        os._exit(1)
    kernel.die_with_parent(signal.SIGKILL)
    os.close(report)
    if os.read(mapped, 1) != _MAPPED:
        os._exit(1)  # the parent died, or could not map the ids
    os.close(mapped)


def _map_ids(child: int, failure: bytes, maps: Sequence[tuple[Path, Sequence[str]]]) -> None:
    if failure:
        raise refusal(failure.decode())
    for program, id_triples in maps:
        try:
            command.run([program, str(child), *id_triples])
        except CommandFailed as exc:
            raise refusal(str(exc)) from exc
