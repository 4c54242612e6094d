"""Programs run by an ordinary user with subordinate ids, whom no file of this machine names.

    python -m tests.ordinary_user layerline call …

The user, a number, exists in a mount namespace alone: files of its own lie over /etc/passwd and the
like there. Nothing of it is left behind, and a contributor's own files are never written to. An
ordinary user who runs the tests is that user itself.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.errors import LayerlineError
from layerline.rootless import IdRange, read_ranges
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UID = GID = 64321
NAME = "ordinary"
FIRST, COUNT = 700_000_000, 65536
_RANGES = (IdRange(FIRST, COUNT),)
# Files of subordinate ids in directories of any mode: root of a user namespace removes them.
_REMOVE = """
import shutil, sys
from layerline import host
host.become_root()
shutil.rmtree(sys.argv[1])
"""

# Runs as root in a mount namespace: $1 has the files that name the user; $2 is this Python's
# directory, $3 the closed directory that hides it from other users, if any, $4 an empty directory.
# /dev/net/tun is everybody's where udev runs (50-udev-default.rules of systemd).
_SETUP = """
set -eu
files=$1 python=$2 closed=$3 aside=$4; shift 4
for file in passwd group subuid subgid; do
  mount --bind "$files/$file" "/etc/$file"
done
if [ -n "$closed" ]; then
  mount --bind "$python" "$aside"
  mount -t tmpfs -o mode=755 python "$closed"
  mkdir -p "$python"
  mount --move "$aside" "$python"
fi
mount --bind "$files/tun" /dev/net/tun
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdinaryUser:
    """The user; `home` and what is in it are its own. `files` name it, unless it runs the tests."""

    home: Path
    files: Path | None
    uid: int = UID
    gid: int = GID
    uids: Sequence[IdRange] = _RANGES
    gids: Sequence[IdRange] = _RANGES

    def argv(self, argv: Sequence[str | Path]) -> list[str]:
        """The command line that runs a program as this user."""
        if self.files is None:
            return [str(arg) for arg in argv]
        python = Path(sys.base_prefix).resolve()
        closed = next((str(p) for p in reversed(python.parents) if not _is_open(p)), "")
        setup = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SETUP, "sh"]
        places = [self.files, python, closed, self.files / "aside"]
        login = [f"--reuid={UID}", f"--regid={GID}", "--clear-groups"]
        return [str(arg) for arg in (*setup, *places, "setpriv", *login, "--", *argv)]

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Variables of the caller, with a home of the user's own."""
        kept = {name: value for name, value in environ.items() if not name.startswith("XDG_")}
        own = {"HOME": str(self.home), "TMPDIR": str(self.home / "tmp")}
        return {**kept, **own} if self.files is None else {**kept, **own, "USER": NAME}

    def directory(self, name: str) -> Path:
        """A new directory of the user's."""
        path = self.home / name
        path.mkdir()
        os.chown(path, self.uid, self.gid)
        return path

    def give(self, path: Path) -> None:
        """Make the user the owner of a tree."""
        for each in (path, *path.rglob("*")):
            os.chown(each, self.uid, self.gid, follow_symlinks=False)


@contextmanager
def ordinary_user(*, subordinate: bool = True) -> Iterator[OrdinaryUser]:
    """A user for the length of the block, made by root; another one is its own.

    Without `subordinate` the user, which root has to make, has no ids but its own.
    """
    if os.geteuid() != 0:
        with _this_user() as user:
            yield user
        return
    with tempfile.TemporaryDirectory(prefix="ordinary-user-", dir="/tmp") as name:
        base = Path(name)
        base.chmod(0o755)
        files = base / "etc"
        (files / "aside").mkdir(parents=True)
        passwd = f"{NAME}:x:{UID}:{GID}::{base / 'home'}:/bin/sh\n"
        (files / "passwd").write_text(Path("/etc/passwd").read_text() + passwd)
        (files / "group").write_text(Path("/etc/group").read_text() + f"{NAME}:x:{GID}:\n")
        for file in ("subuid", "subgid"):
            (files / file).write_text(f"{NAME}:{FIRST}:{COUNT}\n" if subordinate else "")
        os.mknod(files / "tun", stat.S_IFCHR, os.makedev(10, 200))
        (files / "tun").chmod(0o666)
        user = OrdinaryUser(home=base / "home", files=files)
        user.home.mkdir()
        os.chown(user.home, UID, GID)
        user.directory("tmp")
        try:
            yield user
        finally:
            # Files of subordinate ids in directories of any mode: root removes them.
            shutil.rmtree(user.home)


@contextmanager
def _this_user() -> Iterator[OrdinaryUser]:
    uid, gid = os.geteuid(), os.getegid()
    home = Path(tempfile.mkdtemp(prefix="ordinary-user-", dir="/tmp"))
    uids, gids = (read_ranges(Path("/etc", name), uid) for name in ("subuid", "subgid"))
    user = OrdinaryUser(home=home, files=None, uid=uid, gid=gid, uids=uids, gids=gids)
    user.directory("tmp")
    try:
        yield user
    finally:
        environ = {**process_environ(), "PYTHONPATH": _source()}
        command.run([sys.executable, "-c", _REMOVE, home], env=environ)


def no_ordinary_user() -> str:
    """Why no such user can run containers here; empty if one can."""
    script = "import layerline.host as host; host.enter_namespaces(); host.try_overlay()"
    try:
        with ordinary_user() as user:
            environ = user.environ({**process_environ(), "PYTHONPATH": _source()})
            command.run(user.argv([sys.executable, "-c", script]), env=environ, cwd=user.home)
    except (LayerlineError, OSError) as exc:
        return f"no containers without root: {exc}"
    return ""


def _is_open(directory: Path) -> bool:
    return bool(directory.stat().st_mode & 0o001)


def _source() -> str:
    return str(Path(__file__).parents[1] / "src")


def main() -> None:
    """Run a program as the user, in the user's home."""
    argv = sys.argv[1:]
    if argv and argv[0] == "layerline":
        argv = [sys.executable, "-m", *argv]
    with ordinary_user() as user:
        environ = user.environ({**process_environ(), "PYTHONPATH": _source()})
        stdin = sys.stdin.fileno()
        status = command.start(user.argv(argv), env=environ, cwd=user.home, stdin=stdin).wait()
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
