"""Runs a program of strangers: as nobody, without capabilities and without a network.

    sandbox.py PROGRAM [ARGUMENT ...]

Root runs it in an ordinary step, whose seccomp filter and limits stay; neither a namespace nor a
right that a step lacks is needed, so every engine and kernel does it. One more filter refuses
sockets of other kinds than Unix's, as `RestrictAddressFamilies=AF_UNIX` of systemd does: it is kept
by all that is started, and by setuid programs no right comes back. What the program leaves running
is ended: the next one of the same step could be changed by it.

https://docs.kernel.org/userspace-api/seccomp_filter.html, systemd.exec(5)
"""

import ctypes
import errno
import os
import pathlib
import platform
import signal
import struct
import sys
from collections.abc import Sequence

NOBODY = 65534
RIGHTS = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"),
)
# AUDIT_ARCH_*, socket, socketpair: linux/audit.h and the tables of system calls.
MACHINES = {"x86_64": (0xC000003E, 41, 53), "aarch64": (0xC00000B7, 198, 199)}
# Opens sockets without the call socket.
IO_URING_SETUP = 425
# Numbers of the x32 ABI, which the same machine has.
X32 = 0x40000000
AF_UNIX = 1
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
PR_SET_CHILD_SUBREAPER = 36
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
# struct seccomp_data.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06


def instructions(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter as classic BPF: code, jumps if true and if false, value."""
    architecture, socket, socketpair = MACHINES[machine]
    return [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 7, 0, X32),
        (EQUAL, 6, 0, IO_URING_SETUP),
        (EQUAL, 2, 0, socket),
        (EQUAL, 1, 0, socketpair),
        (RETURN, 0, 0, ALLOW),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 2, 0, AF_UNIX),
        (RETURN, 0, 0, ERRNO | errno.ENETUNREACH),
        (RETURN, 0, 0, ERRNO | errno.ENOSYS),
        (RETURN, 0, 0, ALLOW),
    ]


def refuse_network() -> None:
    """Refuse this process, and all that it starts, a network and new privileges for ever."""
    machine = platform.machine()
    if machine not in MACHINES or sys.byteorder != "little":
        sys.exit(f"programs cannot be confined on {machine}: use one of {', '.join(MACHINES)}")
    code = b"".join(struct.pack("HBBI", *each) for each in instructions(machine))
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog.
    program = struct.pack("HP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = ctypes.c_ulong(0)
    calls = (
        (PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), nothing),
        (PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), program),
    )
    for option, value, more in calls:
        if libc.prctl(option, value, more, nothing, nothing):
            sys.exit(f"programs cannot be confined here: {os.strerror(ctypes.get_errno())}")


def children() -> list[int]:
    """The processes whose parent this one is (proc(5), /proc/PID/stat)."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(after_name[1]) == os.getpid():
            found.append(int(path.parent.name))
    return found


def end_descendants() -> None:
    """End all that is left: what has lost its parent is a child of this process."""
    while left := children():
        for process in left:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def main(argv: Sequence[str]) -> None:
    """Run the program to its end and exit as it does."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    program = os.fork()
    if not program:
        refuse_network()
        os.execvp(RIGHTS[0], [*RIGHTS, *argv])
    _, status = os.waitpid(program, 0)
    end_descendants()
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(sys.argv[1:])
