"""What this machine can do, measured by doing it; and the namespaces that the engine lives in.

Invariant: `become_root` and `enter_namespaces` need nothing but the standard library and run before
anything heavy is imported. When the process that the user started dies, however it dies, the kernel
ends all that is in the namespaces: no container, mount or unfinished layer survives it.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command, kernel, user_namespace
from layerline.errors import PrivilegeMissing
from layerline.janitor import run_after_end

if TYPE_CHECKING:
    from collections.abc import Callable

_FORWARDED = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
    }
)
_ATTENDED = _FORWARDED | {signal.SIGCHLD}
_FROM_KERNEL = 0x80  # si_code of a signal that a terminal sent, to every process at once
_KILLED = 128


@dataclass(frozen=True)
class Capabilities:
    """What building images needs, as root or without it; `runtime` is its version line or None."""

    namespaces: bool
    overlay: bool
    user_namespaces: bool
    runtime: str | None


def measure(runtime: str = "runc") -> Capabilities:
    """Try each thing in a child process, which leaves nothing behind."""
    return Capabilities(
        namespaces=_succeeds(_as_root(_try_namespaces)),
        overlay=_succeeds(_as_root(try_overlay)),
        # With a namespace of another kind: AppArmor lets a program have the first, but no rights.
        user_namespaces=_succeeds(
            lambda: kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        ),
        runtime=_runtime_version(runtime),
    )


def become_root() -> None:
    """Continue as root: an ordinary user as that of a user namespace, in a child of this process.

    The process that the user started stays outside, passes signals on, and ends with the status of
    the inner one. It has no other threads.
    """
    if os.geteuid() == 0:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _ATTENDED)
    try:
        child = user_namespace.fork_as_root()
        if child:
            os._exit(_attend(child))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ATTENDED)


def enter_namespaces(after: Callable[[], object] | None = None) -> None:
    """Continue in a new mount and PID namespace; returns in the inner process only.

    The process that the user started stays outside, passes signals on, and ends with the status of
    the inner one. Both stay in one process group, so the terminal belongs to both. `after` is run
    when they have ended, however they ended, in a process of its own.
    """
    become_root()
    if after is not None:
        run_after_end(after)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ATTENDED)
    alive, held = os.pipe()
    try:
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
    except PermissionError as exc:
        raise _namespaces_refused() from exc
    first = os.fork()
    if first:
        os.close(alive)
        os._exit(_attend(first))  # `held` closes with this process
    os.close(held)
    kernel.die_with_parent(signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        os._exit(_KILLED + signal.SIGKILL)  # the parent died before it was watched
    os.close(alive)
    try:
        _mount_proc()
    except PermissionError as exc:
        raise _proc_refused() from exc
    engine = os.fork()
    if engine:
        os._exit(_attend(engine))
    kernel.forbid_core_dumps()  # secrets of the session are in the engine's memory
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ATTENDED)


def _namespaces_refused() -> PrivilegeMissing:
    if kernel.in_user_namespace():
        return user_namespace.refusal("no other namespace may be created in it")
    message = (
        "this process may not create namespaces (it lacks CAP_SYS_ADMIN): "
        "give its container more rights, e.g. docker run --privileged"
    )
    return PrivilegeMissing(message)


def _proc_refused() -> PrivilegeMissing:
    message = (
        "/proc cannot be mounted: the container that this runs in hides parts of it: start it with "
        "--privileged, or with --security-opt systempaths=unconfined"
    )
    return PrivilegeMissing(message)


_PROC_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


def _attend(child: int) -> int:
    """Reap every child, pass signals on to this one, and return its status when it has ended."""
    while True:
        received = signal.sigwaitinfo(_ATTENDED)
        if received.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                return status
        elif received.si_code != _FROM_KERNEL:
            with suppress(ProcessLookupError):
                os.kill(child, received.si_signo)


def _reap(child: int) -> int | None:
    status = None
    with suppress(ChildProcessError):
        while True:
            process, raw = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return status
            if process == child:
                code = os.waitstatus_to_exitcode(raw)
                status = code if code >= 0 else _KILLED - code
    return status


def _succeeds(trial: Callable[[], None]) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        # The child must never return into its parent's stack, whatever goes wrong in it.
        try:
            trial()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def _as_root(trial: Callable[[], None]) -> Callable[[], None]:
    """The trial as the engine would make it: by root, or by that of a user namespace."""

    def become_root_and_try() -> None:
        child = 0 if os.geteuid() == 0 else user_namespace.fork_as_root()
        if child:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
        trial()

    return become_root_and_try


def _try_namespaces() -> None:
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
    if not _succeeds(_mount_proc):
        message = "cannot mount /proc"
        raise OSError(message)


def _mount_proc() -> None:
    """Show the processes of a new PID namespace, in a new mount namespace alone."""
    kernel.mount("none", Path("/"), None, kernel.MS_REC | kernel.MS_SLAVE)
    kernel.mount("proc", Path("/proc"), "proc", _PROC_FLAGS)


def try_overlay() -> None:
    """Mount overlayfs in a mount namespace of this process's own; raises OSError."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", Path("/"), None, kernel.MS_REC | kernel.MS_PRIVATE)
    base = Path("/tmp")
    kernel.mount("tmpfs", base, "tmpfs")
    places = [base / name for name in ("lower", "upper", "work", "tree")]
    for place in places:
        place.mkdir()
    lower, upper, work, tree = places
    kernel.mount_overlay([lower], tree, upper=upper, work=work)


def shifts_owners(directory: Path) -> bool:
    """Whether root can show files below `directory` with other owners (idmapped mounts)."""
    return _succeeds(lambda: _try_shifted_owners(directory))


def _try_shifted_owners(directory: Path) -> None:
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", Path("/"), None, kernel.MS_REC | kernel.MS_PRIVATE)
    reading, writing = os.pipe()
    holder = os.fork()
    if holder == 0:
        kernel.die_with_parent(signal.SIGKILL)
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(writing, b"1")
        signal.pause()
    os.read(reading, 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{holder}/{name}").write_text("0 65536 65536\n")
    users = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY)
    memory = Path("/tmp")
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    kernel.attach(place, place, recursive=False, users=users)
    kernel.mount("tmpfs", memory, "tmpfs")
    place = os.open(memory, os.O_PATH | os.O_DIRECTORY)
    kernel.attach(place, place, recursive=False, users=users)


def _runtime_version(runtime: str) -> str | None:
    program = command.find(runtime)
    if program is None:
        return None
    done = command.run([program, "--version"], expect=None)
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0] if done.status == 0 and lines else None
