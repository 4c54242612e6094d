"""What tests need of the machine, each measured once by doing it: empty, or why it is not possible.

`root` is the machine's root, or that of a user namespace, as the engine's own process is.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from layerline import command, host, kernel
from layerline.engine.runtime.cgroups import Cgroups
from layerline.errors import LayerlineError
from layerline.settings import process_environ
from tests.ordinary_user import no_ordinary_user

SOURCE = Path(__file__).parents[1] / "src"
# Who a fixture's session is of. What takes minutes is run by whoever runs the tests.
USERS = (
    ("root", pytest.param("ordinary user", marks=pytest.mark.slow))
    if os.geteuid() == 0
    else ("ordinary user",)
)
_ENTER = "import layerline.host as host; host.enter_namespaces(); host.try_overlay()"
_MEGABYTES = 8
_LARGE_ID = 2**31 + 5


@functools.cache
def no_containers() -> str:
    """Why whoever runs this cannot run containers: namespaces, overlayfs, runc."""
    environ = {**process_environ(), "PYTHONPATH": str(SOURCE)}
    try:
        command.run([sys.executable, "-c", _ENTER], env=environ)
        command.run(["runc", "--version"])
    except LayerlineError as exc:
        return f"no containers: {exc}"
    return ""


@functools.cache
def no_root() -> str:
    """Why this process is not root, and no child of it can be."""
    return "" if os.geteuid() == 0 else no_containers() or "not root"


@functools.cache
def no_machine_root() -> str:
    """Why this process is not root of the machine."""
    if os.geteuid() != 0:
        return "not root"
    return "root of a user namespace only" if kernel.in_user_namespace() else ""


@functools.cache
def no_runc() -> str:
    """Why runc does not run."""
    try:
        command.run(["runc", "--version"])
    except LayerlineError as exc:
        return str(exc)
    return ""


@functools.cache
def no_overlay() -> str:
    """Why overlayfs cannot be mounted where tests keep their files."""
    if reason := no_root():
        return reason
    with tempfile.TemporaryDirectory() as name:
        places = [Path(name, part) for part in ("lower", "upper", "work", "merged")]
        for place in places:
            place.mkdir()
        lower, upper, work, merged = places
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount: list[str | Path] = ["mount", "-t", "overlay", "overlay", "-o", options, merged]
        try:
            command.run(["unshare", "--mount", *mount])
        except LayerlineError as exc:
            return str(exc)
    return ""


@functools.cache
def no_device_nodes() -> str:
    """Why no device can be created."""
    with tempfile.TemporaryDirectory() as name:
        try:
            os.mknod(Path(name, "null"), stat.S_IFCHR, os.makedev(1, 3))
        except OSError as exc:
            return f"no device nodes: {exc.strerror}"
    return ""


@functools.cache
def no_mounts() -> str:
    """Why this process cannot mount where its commands see it."""
    with tempfile.TemporaryDirectory() as name:
        try:
            command.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", name])
        except LayerlineError as exc:
            return f"no mounts: {exc}"
        command.run(["umount", name])
    return ""


@functools.cache
def no_loop_mounts() -> str:
    """Why no file system in a file can be mounted."""
    with tempfile.TemporaryDirectory() as name:
        image, place = Path(name, "image"), Path(name, "disk")
        place.mkdir()
        image.touch()
        os.truncate(image, _MEGABYTES << 20)
        try:
            command.run(["mkfs.ext4", "-q", "-F", image])
            command.run(["unshare", "--mount", "mount", "-o", "loop", image, place])
        except LayerlineError as exc:
            return f"no loop mounts: {exc}"
    return ""


@functools.cache
def no_shifted_owners() -> str:
    """Why files of the temporary directory cannot be shown with other owners."""
    with tempfile.TemporaryDirectory() as name:
        possible = host.shifts_owners(Path(name))
    return "" if possible else "this kernel shows no files with shifted owners to this process"


@functools.cache
def no_trusted_attributes() -> str:
    """Why no `trusted.*` attribute can be set: overlayfs reads its markers there for root only."""
    with tempfile.TemporaryDirectory() as name:
        try:
            os.setxattr(name, "trusted.layerline", b"")
        except OSError as exc:
            return f"no trusted attributes: {exc.strerror}"
    return ""


@functools.cache
def no_large_owners() -> str:
    """Why a file cannot belong to an id beyond those that distributions use."""
    with tempfile.TemporaryDirectory() as name:
        try:
            os.chown(name, _LARGE_ID, 0)
        except OSError as exc:
            return f"no owner {_LARGE_ID}: {exc.strerror}"
    return ""


@functools.cache
def no_cgroups() -> str:
    """Why no cgroup can be made for a step."""
    session = Cgroups()
    try:
        return "no writable cgroups" if session.path("c") is None else ""
    finally:
        session.close()


@functools.cache
def no_process_limits() -> str:
    """Why RLIMIT_NPROC cannot be that of a step: other processes of this user count, too."""
    try:
        command.run(["prlimit", "--nproc=32", "sh", "-c", "true & wait"])
    except LayerlineError as exc:
        return f"no limit of 32 processes: {exc}"
    return ""


@functools.cache
def no_container_user() -> str:
    """Why no ordinary user can run containers: this one, or one that root makes."""
    return no_ordinary_user() if os.geteuid() == 0 else no_containers()


@functools.cache
def no_network() -> str:
    """Why no package index answers."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as cache:
        words = ("pip", "compile", "--quiet", "--no-deps", "--cache-dir", cache, "-")
        try:
            command.run([uv, *words], env=process_environ(), stdin=b"uv\n", timeout=60.0)
        except LayerlineError as exc:
            return f"no package index answers: {exc}"
    return ""
