"""The CDI specifications of this machine, of which only those that root alone can write count.

They make root's runtime start programs (hooks) and show parts of the host in containers.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline import command, kernel
from layerline.engine.runtime import cdi
from layerline.errors import CommandFailed, HostError, PrivilegeMissing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Those of the Go package, the second wins.
DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
_VARIABLE = "LAYERLINE_CDI_SPEC_DIRS"
_GENERATOR = "nvidia-ctk"
_SECONDS = 60.0
_MOST_BYTES = 16 << 20
_MOST_LINKS = 40
_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def edits_for(names: Sequence[str], environ: Mapping[str, str]) -> cdi.Edits:
    """What a container needs for GPUs by their names.

    Raises PrivilegeMissing without root's rights, and HostError for a GPU that is missing.
    """
    if kernel.in_user_namespace():
        message = "containers with GPUs need root: run this command as root"
        raise PrivilegeMissing(message)
    found = specifications(environ)
    if not found:
        found = [_generate(environ)]
    edits = cdi.select(names, found)
    for hook in edits.hooks:
        if hook.name != "startContainer":  # which is a program of the container
            check_owner(Path(hook.path))
    return edits


def specifications(environ: Mapping[str, str]) -> list[cdi.Specification]:
    """The specifications of GPUs, those of higher priority last.

    Raises HostError for one that somebody else than root can change, or two in one directory that
    have the same device.
    """
    found: list[cdi.Specification] = []
    for directory in _directories(environ):
        if not directory.is_dir():
            continue
        here = list(_read_directory(directory))
        _check_conflicts(here)
        found += here
    return found


def check_owner(path: Path) -> None:
    """Raise HostError unless root alone can write to a file, to its directories and to its links.

    Raises FileNotFoundError, too.
    """
    pending = list(reversed(path.parts[1:]))
    here = Path("/")
    links = 0
    _check_step(here, path)
    while pending:
        name = pending.pop()
        here = here.parent if name == ".." else here / name
        _check_step(here, path)
        if here.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = here.readlink()
            pending += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            here = Path("/") if target.is_absolute() else here.parent


def _check_step(step: Path, path: Path) -> None:
    found = step.lstat()
    writable = not stat.S_ISLNK(found.st_mode) and found.st_mode & _OF_OTHERS
    if found.st_uid != 0 or writable:
        message = (
            f"{path} is not used, since others than root can write to {step}: "
            f"chown root {step} && chmod go-w {step}"
        )
        raise HostError(message)


def _directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    named = environ.get(_VARIABLE)
    return tuple(Path(p) for p in named.split(":") if p) if named else DIRECTORIES


def _read_directory(directory: Path) -> Iterator[cdi.Specification]:
    for path in sorted(directory.iterdir()):
        if path.suffix not in (".json", ".yaml"):
            continue
        check_owner(path)
        found = cdi.parse(_document(path), str(path))
        if found is not None:
            yield found


def _document(path: Path) -> Any:  # noqa: ANN401  JSON or YAML
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            message = f"{path} is not a regular file"
            raise HostError(message)
        data = file.read(_MOST_BYTES)
    # Imported by those who have a GPU: it would make the start of every session longer.
    import yaml

    try:
        return json.loads(data) if path.suffix == ".json" else yaml.safe_load(data)
    except (ValueError, yaml.YAMLError) as exc:
        message = f"{path} cannot be read: {exc}"
        raise HostError(message) from exc


def _check_conflicts(found: Sequence[cdi.Specification]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for each in found:
        for device in each.devices:
            first = seen.setdefault((each.kind, device), each.origin)
            if first != each.origin:
                message = f"{first} and {each.origin} both have the device {each.kind}={device}"
                raise HostError(message)


def _generate(environ: Mapping[str, str]) -> cdi.Specification:
    """Ask NVIDIA's toolkit what the GPUs of this machine need."""
    searched = " or ".join(map(str, _directories(environ)))
    missing = f"this machine has no GPU for containers: no CDI specification of one in {searched}"
    program = command.find(_GENERATOR, path=environ.get("PATH") or command.DEFAULT_PATH)
    if program is None:
        message = (
            f"{missing}, and {_GENERATOR} is not installed; where there is a GPU, install its "
            "driver and the NVIDIA container toolkit"
        )
        raise HostError(message)
    check_owner(program)
    try:
        done = command.run([program, "cdi", "generate", "--format=json"], timeout=_SECONDS)
        found = cdi.parse(json.loads(done.stdout), f"{program} cdi generate")
    except (CommandFailed, ValueError) as exc:
        message = f"{missing}, and none can be generated: {exc}"
        raise HostError(message) from exc
    if found is None:
        message = f"{missing}, and {program} knows none"
        raise HostError(message)
    return found
