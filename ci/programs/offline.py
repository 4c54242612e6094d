"""Runs a command as a user, without any network but its own loopback.

Run below `unshare --net`, as root; the arguments are the user and the command.
"""

import fcntl
import os
import pwd
import socket
import struct
import sys

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
REQUEST = "16sH14x"

user, *command = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
    answer = fcntl.ioctl(handle, SIOCGIFFLAGS, struct.pack(REQUEST, b"lo", 0))
    _, flags = struct.unpack(REQUEST, answer)
    fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack(REQUEST, b"lo", flags | IFF_UP))
os.environ["HOME"] = pwd.getpwnam(user).pw_dir
identity = (f"--reuid={user}", f"--regid={user}", "--init-groups", "--bounding-set=-all")
os.execvp("setpriv", ["setpriv", *identity, "--inh-caps=-all", "--", *command])
