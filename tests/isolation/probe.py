"""What a confined program can see and do, as JSON: run it in a container with Python.

    python probe.py PORT DIGEST FILE

PORT is one that the host listens on at its loopback, DIGEST the SHA-256 of the session's token, and
FILE a file of the host.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Docker's, which BuildKit's runc executor uses: github.com/moby/profiles, oci/defaults.go.
CAPABILITIES = 0xA80425FB
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/scsi")
DEVICES = {
    *("core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm"),
    *("stderr", "stdin", "stdout", "tty", "urandom", "zero"),
}
TOKEN = re.compile(rb"[A-Za-z0-9_-]{43}")


def outcome(action: Callable[[], object]) -> str:
    """`done`, or the class of the error."""
    try:
        action()
    except OSError as exc:
        return type(exc).__name__
    return "done"


def masked_content() -> list[str]:
    """The masked paths that show something."""
    shown = []
    for path in map(Path, MASKED):
        try:
            content = list(path.iterdir()) if path.is_dir() else path.read_bytes()[:1]
        except OSError:
            continue
        if content:
            shown.append(str(path))
    return shown


def open_disk() -> None:
    """Make a node of the first disk, and open it."""
    for major in (8, 252, 254, 259):
        node = Path(f"/tmp/disk{major}")
        try:
            os.mknod(node, 0o60600, os.makedev(major, 0))
        except PermissionError:
            continue
        with node.open("rb"):
            return
    raise PermissionError


def mount_something() -> None:
    """Mount a tmpfs."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"t", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def processes() -> list[int]:
    """Those that can be seen, as numbers."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def is_strange(process: int) -> bool:
    """Whether a process has another root directory than this one, or may not be looked at."""
    try:
        return not Path(f"/proc/{process}/root").samefile("/")
    except OSError:
        return True


def find_token(digest: str) -> list[str]:
    """Where the session's token is: variables and arguments of all processes that are seen."""
    found = []
    for process in processes():
        for name in ("environ", "cmdline"):
            path = Path(f"/proc/{process}/{name}")
            try:
                content = path.read_bytes()
            except OSError:
                continue
            if any(hashlib.sha256(t).hexdigest() == digest for t in TOKEN.findall(content)):
                found.append(str(path))
    return found


def sniffed_links() -> list[str]:
    """The links that a raw socket hears, if there may be one."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)).close()
    except OSError:
        return []
    return sorted(name for _, name in socket.if_nameindex())


def main(port: int, digest: str, file: str) -> dict[str, object]:
    """The table."""
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    host = ("127.0.0.1", port)
    metadata = ("169.254.169.254", 80)
    return {
        "capabilities beyond BuildKit's": int(status["CapBnd"], 16) & ~CAPABILITIES,
        "seccomp": status["Seccomp"],
        "masked paths that show something": masked_content(),
        "devices": sorted({path.name for path in Path("/dev").iterdir()} - DEVICES),
        "disk": outcome(open_disk),
        "kernel settings": outcome(lambda: Path("/proc/sys/kernel/core_pattern").open("w").close()),
        "mount": outcome(mount_something),
        "host's files": outcome(lambda: Path(f"/proc/1/root/{file}").read_bytes()),
        "programs of others": [each for each in processes() if is_strange(each)],
        "host's loopback": outcome(lambda: socket.create_connection(host, timeout=2).close()),
        "metadata": outcome(lambda: socket.create_connection(metadata, timeout=2).close()),
        "links": sniffed_links(),
        "token": find_token(digest),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), *sys.argv[2:])))
