"""Run Layerline, and let one system call that writes to a disk fail or be its process's last.

The calls of the command and of all that it starts are counted together, in the order in which they
arrive: `strace -e inject=…:when=N` counts those of each thread. The kernel asks the supervisor
before each call: seccomp_unotify(2).

As a program it reads commands from its standard input, one JSON object a line, and answers each
with one. They run in forks of this process, which has loaded Layerline: hundreds of trials need
not wait for its imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib
import json
import os
import pkgutil
import platform
import select
import signal
import socket
import stat
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import layerline
from layerline.cli.main import main as run_command_line

# The numbers of x86-64. At the first kind's argument of that index is a descriptor, at the second's
# a path.
BY_DESCRIPTOR = {
    "write": (1, 0),
    "pwrite64": (18, 0),
    "writev": (20, 0),
    "sendfile": (40, 0),
    "fsync": (74, 0),
    "fdatasync": (75, 0),
    "ftruncate": (77, 0),
    "fchmod": (91, 0),
    "fchown": (93, 0),
    "fsetxattr": (190, 0),
    "fallocate": (285, 0),
    "syncfs": (306, 0),
    "copy_file_range": (326, 2),
}
BY_PATH = {
    "truncate": (76, 0),
    "rename": (82, 1),
    "mkdir": (83, 0),
    "rmdir": (84, 0),
    "link": (86, 1),
    "unlink": (87, 0),
    "symlink": (88, 1),
    "chmod": (90, 0),
    "chown": (92, 0),
    "lchown": (94, 0),
    "mount": (165, 1),
    "umount2": (166, 0),
    "setxattr": (188, 0),
    "lsetxattr": (189, 0),
    "mkdirat": (258, 1),
    "mknodat": (259, 1),
    "fchownat": (260, 1),
    "unlinkat": (263, 1),
    "renameat": (264, 3),
    "linkat": (265, 3),
    "symlinkat": (266, 2),
    "fchmodat": (268, 1),
    "utimensat": (280, 1),
    "renameat2": (316, 3),
    "move_mount": (429, 3),
    "mount_setattr": (442, 1),
}
OPENING = {"open": (2, 0, 1), "openat": (257, 1, 2)}  # the indices of the path and the flags
NUMBERS = {
    number: (name, index, name in BY_DESCRIPTOR)
    for name, (number, index) in {**BY_DESCRIPTOR, **BY_PATH}.items()
} | {number: (name, index, False) for name, (number, index, _) in OPENING.items()}

SECCOMP = 317
AUDIT_ARCH_X86_64 = 0xC000003E
SET_MODE_FILTER, NEW_LISTENER, WAIT_KILLABLE = 1, 1 << 3, 1 << 5
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
LOAD, EQUAL, HAS_BITS, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
RECEIVE, SEND = 0xC0502100, 0xC0182101
REQUEST = struct.Struct("<QIIiIQ6Q")
ANSWER = struct.Struct("<QqiI")
CONTINUE = 1
LONGEST_PATH = 4096
SET_CHILD_SUBREAPER = 36
SOON = 5.0
OUTPUT = "layerline-output"
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter() -> bytes:
    """Ask about the calls above, of those that open if they may create; let all others pass."""
    code = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, AUDIT_ARCH_X86_64), (RETURN, 0, 0, ALLOW)]
    code += [(LOAD, 0, 0, NUMBER)]
    for number, _, flags in OPENING.values():
        code += [
            (EQUAL, 0, 4, number),
            (LOAD, 0, 0, ARGUMENTS + 8 * flags),
            (HAS_BITS, 0, 1, os.O_CREAT),
            (RETURN, 0, 0, NOTIFY),
            (RETURN, 0, 0, ALLOW),
        ]
    for number, _ in (*BY_DESCRIPTOR.values(), *BY_PATH.values()):
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, NOTIFY)]
    code += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("<HBBI", *each) for each in code)


def _install() -> int:
    """Filter this process and all that it starts from now on; return the descriptor that asks."""
    code = _filter()
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    listener = int(
        libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER | WAIT_KILLABLE, ctypes.byref(program))
    )
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens at the call number `at`, and at all later ones if it is `for_ever`."""

    at: int = 0
    kind: str = "EIO"
    for_ever: bool = False

    def hits(self, count: int) -> bool:
        """Whether it happens at the call with this number."""
        return 0 < self.at <= count if self.for_ever else self.at == count


class Supervisor:
    """Answers the kernel's questions. `calls` are `number process name path`, a hit ends in *."""

    def __init__(self, listener: int, fault: Fault) -> None:
        self._listener = listener
        self._fault = fault
        self.calls: list[str] = []

    def serve(self, family: Family) -> None:
        """Answer until no process is left that could ask, or some stay after the command."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while not family.is_overdue():
            events = poll.poll(100)
            if not events:
                continue
            if not events[0][1] & select.POLLIN:
                return
            request = bytearray(REQUEST.size)
            try:
                fcntl.ioctl(self._listener, RECEIVE, request)
            except OSError:  # the process has been killed
                continue
            identity, process, _, number, _, _, *arguments = REQUEST.unpack(request)
            error = self._decide(process, number, arguments)
            answer = ANSWER.pack(identity, 0, -error, 0 if error else CONTINUE)
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._listener, SEND, answer)

    def _decide(self, process: int, number: int, arguments: list[int]) -> int:
        """The error number that a call shall return, or 0."""
        name, index, has_descriptor = NUMBERS[number]
        place = (_described if has_descriptor else _named)(process, arguments[index])
        if place is None:
            return 0
        count = len(self.calls) + 1
        hit = self._fault.hits(count)
        self.calls.append(f"{count} {_comm(process)} {name} {place}{' *' if hit else ''}")
        if not hit:
            return 0
        if self._fault.kind == "KILL":
            os.kill(process, signal.SIGKILL)
            return errno.EINTR
        return ERRORS[self._fault.kind]


def _described(process: int, descriptor: int) -> str | None:
    """The path of a descriptor of a file or directory; not of pipes, sockets and devices."""
    link = f"/proc/{process}/fd/{descriptor & 0xFFFFFFFF}"
    try:
        info = Path(link).stat()
        path = str(Path(link).readlink())
    except OSError:
        return None
    if path.startswith(f"/memfd:{OUTPUT}"):
        return None
    return path if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode) else None


def _named(process: int, address: int) -> str:
    """The path at an address; utimensat has none for a descriptor."""
    if not address:
        return "-"
    try:
        with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return os.fsdecode(memory.read(LONGEST_PATH).partition(b"\0")[0])
    except OSError:
        return "?"


def _comm(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip().replace(" ", "_")
    except OSError:
        return "?"


class Family:
    """A command and what it starts; orphans become children of this process."""

    def __init__(self, command: int) -> None:
        self._command = command
        self._deadline = 0.0
        self.status: int | None = None

    def is_overdue(self) -> bool:
        """Whether the command has ended and what it started has had time to end, too."""
        self._reap()
        return self.status is not None and time.monotonic() > self._deadline

    def wait(self) -> list[str]:
        """Wait for the end of all; return the command lines of those that had to be killed."""
        while not self.is_overdue() and (self.status is None or _children()):
            time.sleep(0.01)
        left = []
        while children := _children():
            for process in children:
                left.append(_command_line(process))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)
            self._reap()
        return left

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    return
                if process == self._command:
                    code = os.waitstatus_to_exitcode(status)
                    self.status = code if code >= 0 else 128 - code
                    self._deadline = time.monotonic() + SOON


def _children() -> list[int]:
    return [int(each) for each in Path("/proc/thread-self/children").read_text().split()]


def _command_line(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    return ""


def _memory() -> BinaryIO:
    """A file for an output. Pipes would do as well, but somebody would have to read them."""
    return os.fdopen(os.memfd_create(OUTPUT), "w+b")


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run one command in a fork of this process, under a fault if the order has one."""
    ours, theirs = socket.socketpair()
    with _memory() as stdout, _memory() as stderr:
        child = os.fork()
        if child == 0:
            ours.close()
            _become(order, stdout.fileno(), stderr.fileno(), theirs)
        theirs.close()
        family = Family(child)
        calls: list[str] = []
        if "fault" in order:
            _, (listener, *_), _, _ = socket.recv_fds(ours, 1, 1)
            supervisor = Supervisor(listener, Fault(**order["fault"]))
            supervisor.serve(family)
            calls = supervisor.calls
            os.close(listener)
        ours.close()
        left = family.wait()
        stdout.seek(0)
        stderr.seek(0)
        return {
            "status": family.status,
            "stdout": stdout.read().decode(errors="replace"),
            "stderr": stderr.read().decode(errors="replace"),
            "calls": calls,
            "left": left,
        }


def _become(order: dict[str, Any], stdout: int, stderr: int, asker: socket.socket) -> NoReturn:
    """Be the command line."""
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.chdir(order["workdir"])
    os.environ.clear()  # noqa: TID251
    os.environ.update(order["environ"])  # noqa: TID251
    if "fault" in order:
        socket.send_fds(asker, [b"x"], [_install()])
    asker.close()
    sys.argv = ["layerline", *order["argv"]]
    run_command_line()


def _load() -> None:
    """Import what the commands import when they run."""
    for package in ("cli", "engine"):
        for module in pkgutil.walk_packages(
            [f"{layerline.__path__[0]}/{package}"], f"layerline.{package}."
        ):
            importlib.import_module(module.name)


def serve() -> None:
    """Answer the orders of standard input."""
    if platform.machine() != "x86_64":
        sys.exit("the numbers of the system calls are those of x86-64")
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _load()
    orders = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    for line in orders:
        answers.write(json.dumps(run(json.loads(line))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve()
