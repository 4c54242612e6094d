"""The process of one function call: the SDK's entry point, with files and variables its own.

Invariant: what the process can see is the system's programs and libraries read-only, its
interpreter, its environment and its source read-only, and an empty directory of its own; none of
the caller's files, variables or processes.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from layerline import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerline.engine.module.environment import Environment
    from layerline.engine.module.project import Project

VENV = "/opt/venv"
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SETTINGS = ("ssl", "ld.so.conf.d", "alternatives", "ca-certificates", "pki")
_COPIED = (
    *("passwd", "group", "hosts", "resolv.conf", "nsswitch.conf", "localtime", "mime.types"),
    *("ld.so.cache", "ld.so.conf"),
)
_TAIL_BYTES = 100 * 1024
_GRACE_SECONDS = 2.0
_POLL_SECONDS = 0.05
_READ_BYTES = 64 * 1024

# Runs in fresh mount and process namespaces, as /bin/sh -eu, with the new root as $1: it binds what
# the lines of $1/.binds name (option, source, target), and runs the command that follows. That is
# its child: a first process would not get signals that it sends to itself.
_SETUP = """
root=$1; shift
mount --bind "$root" "$root"
cd "$root"
while IFS='\t' read -r option source target; do
  mount -o "rbind,$option" "$source" ".$target"
done < .binds
rm .binds
mount -t proc proc proc
pivot_root . .
umount -l .
cd /scratch
unset PWD OLDPWD
status=0
"$@" || status=$?
exit "$status"
"""

# What the SDK brings lives as long as the process: no time is spent on looking for garbage in it.
# The module's paths come last, as those of an editable installation do: a module's platform.py
# hides neither the standard library's nor what is installed.
_ENTRY = """\
import atexit, gc, sys
gc.disable()
sys.path += {paths!r}
from dagger.mod.cli import app
gc.freeze()
gc.enable()
atexit.register(gc.freeze)
sys.exit(app(None, "--register" in sys.argv))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A module's program: the code at `source`, mounted at `/src/<name>`, and its environment."""

    environment: Environment
    project: Project
    source: Path
    name: str
    subpath: str

    @property
    def place(self) -> Path:
        """The directory of the pyproject.toml, as the process sees it."""
        return Path("/src", self.name) / self.subpath


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """The exit status of a function's process, and the end of its output."""

    status: int
    output: str


def variables(program: Program, *, module: str, port: int, token: str) -> dict[str, str]:
    """The variables of a function's process: those of the protocol, none of the caller's."""
    return {
        "DAGGER_DEFAULT_PYTHON_PACKAGE": program.project.package,
        "DAGGER_ENGINE_NUM_CPU": str(os.cpu_count() or 1),
        "DAGGER_MAIN_OBJECT": program.project.main_object,
        "DAGGER_MODULE": module,
        "DAGGER_SESSION_PORT": str(port),
        "DAGGER_SESSION_TOKEN": token,
        "HOME": "/root",
        "LC_CTYPE": "C.UTF-8",
        "PATH": command.DEFAULT_PATH,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHONUNBUFFERED": "1",
        "UV_COMPILE_BYTECODE": "1",
        "UV_LINK_MODE": "copy",
        "UV_NATIVE_TLS": "1",
        "UV_PROJECT_ENVIRONMENT": VENV,
        "UV_SYSTEM_PYTHON": "1",
    }


def run_program(
    program: Program,
    root: Path,
    environ: dict[str, str],
    *,
    on_output: Callable[[bytes], None],
    cancel: threading.Event,
) -> ProcessResult:
    """Run the entry point until it exits; `root` is an empty directory that becomes its root."""
    _furnish(program, root)
    source, sink = os.pipe()
    with open(source, "rb", buffering=0) as stream:  # noqa: PTH123  a descriptor, not a path
        with open(sink, "wb", buffering=0) as both:  # noqa: PTH123
            process = command.start(
                [
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                    *("--propagation", "private", "/bin/sh", "-eu", "-c", _SETUP, "sh", root),
                    *(f"{VENV}/bin/python", "/runtime"),
                ],
                env=environ,
                stdout=both,
                stderr=both,
                new_session=True,
            )
        with _kill_on(cancel, process):
            tail = _drain(stream, on_output)
            status = process.wait()
    return ProcessResult(
        status=status if status >= 0 else 128 - status, output=tail.decode(errors="replace")
    )


def _furnish(program: Program, root: Path) -> None:
    """Lay out the root directory: links, mount points, entry point and metadata."""
    binds: list[tuple[str, Path, str]] = []
    for name in _SYSTEM:
        _add_system(root, Path("/", name), binds)
    for name in _SETTINGS:
        _add_system(root, Path("/etc", name), binds)
    binds += [
        ("ro", program.environment.base, str(program.environment.base)),
        ("ro", program.environment.root, VENV),
        ("ro", program.source, f"/src/{program.name}"),
        ("rw", Path("/dev"), "/dev"),
    ]
    for _, source, target in binds:
        _mount_point(source, root / target[1:])
    for name in ("scratch", "tmp", "root", "proc", "etc", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        with contextlib.suppress(FileNotFoundError):  # no system has them all
            shutil.copy(Path("/etc", name), root / "etc" / name)
    paths = [posixpath.normpath(program.place / path) for path in program.project.paths]
    if program.project.version and not program.project.built:
        paths.append("/runtime.d")
        _write_metadata(program.project, root / "runtime.d")
    (root / "runtime").write_text(_ENTRY.format(paths=paths))
    lines = [f"{option}\t{source}\t{target}\n" for option, source, target in _outermost(binds)]
    (root / ".binds").write_text("".join(lines))


def _add_system(root: Path, path: Path, binds: list[tuple[str, Path, str]]) -> None:
    if path.is_symlink() and path.parent == Path("/"):
        (root / path.name).symlink_to(path.readlink())
    elif path.exists():
        binds.append(("ro", path.resolve(), str(path)))


def _outermost(binds: list[tuple[str, Path, str]]) -> Iterator[tuple[str, Path, str]]:
    """Leave out what a bound parent shows already (an interpreter below /usr)."""
    targets = {target for _, source, target in binds if str(source) == target}
    for option, source, target in binds:
        if not any(str(parent) in targets for parent in Path(target).parents):
            yield option, source, target


def _mount_point(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def _write_metadata(project: Project, directory: Path) -> None:
    """What an editable installation leaves of the distribution: name, version, entry point."""
    info = directory / f"{project.package}-{project.version}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
    (info / "METADATA").write_text(head)
    if project.entry_point:
        entry = f"[dagger.mod]\nmain_object = {project.entry_point}\n"
        (info / "entry_points.txt").write_text(entry)


@contextlib.contextmanager
def _kill_on(cancel: threading.Event, process: command.Process[bytes]) -> Iterator[None]:
    """Terminate the process when the call is cancelled, until the end of the block."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            if cancel.is_set():
                _end(process)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        _end(process)


def _end(process: command.Process[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself in between
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_GRACE_SECONDS)


def _drain(stream: IO[bytes], on_output: Callable[[bytes], None]) -> bytes:
    tail = b""
    while chunk := stream.read(_READ_BYTES):
        on_output(chunk)
        tail = (tail + chunk)[-_TAIL_BYTES:]
    return tail
