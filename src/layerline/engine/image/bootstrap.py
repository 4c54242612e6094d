"""Bootstrap Debian and Ubuntu base images from packages when no registry can be reached.

The result depends on the packages alone: times later than the newest packaged file are set to that
file's, and files that record this machine or this run (caches, lists) are removed or emptied.
"""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from layerline import command
from layerline.engine.image.reference import DEFAULT_NAMESPACE, DEFAULT_REGISTRY, Reference
from layerline.engine.store.devices import make_device
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.rmtree import remove_tree
from layerline.errors import BootstrapFailed, ProgramMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APT = Path("/etc/apt")
_SUITES = {
    "debian": {
        "11": "bullseye",
        "12": "bookworm",
        "13": "trixie",
        "latest": "trixie",
        "stable": "trixie",
        "bullseye": "bullseye",
        "bookworm": "bookworm",
        "trixie": "trixie",
        "sid": "sid",
    },
    "ubuntu": {
        "22.04": "jammy",
        "24.04": "noble",
        "26.04": "resolute",
        "latest": "resolute",
        "jammy": "jammy",
        "noble": "noble",
        "resolute": "resolute",
    },
}
_SLIM_EXCLUDES = ("doc/*", "man/*", "groff/*", "info/*", "linda/*", "lintian/*", "locale/*")
_SLIM_INCLUDES = ("doc/*/copyright", "locale/locale.alias")
_LEFTOVERS = ("var/lib/apt/lists", "var/cache/apt", "tmp", "etc/machine-id")
_OF_THIS_MACHINE = ("etc/hostname", "etc/resolv.conf", "var/cache/ldconfig/aux-cache")
_OWN_FILES = {
    "etc/hostname": (0o644, ""),
    "usr/sbin/policy-rc.d": (0o755, "#!/bin/sh\nexit 101\n"),
    "etc/apt/apt.conf.d/docker-clean": (
        0o644,
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n'
        'APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n',
    ),
    "etc/apt/apt.conf.d/docker-no-languages": (0o644, 'Acquire::Languages "none";\n'),
}
# What mmdebstrap puts into /dev where it can create devices (its @devfiles).
_DEVICES = {
    "console": (5, 1),
    "full": (1, 7),
    "null": (1, 3),
    "ptmx": (5, 2),
    "random": (1, 8),
    "tty": (5, 0),
    "urandom": (1, 9),
    "zero": (1, 5),
}
_DEVICE_DIRECTORIES = ("pts", "shm")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stderr": "/proc/self/fd/2",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
}
# Debian has Ubuntu's keys since 13.
_KEYRINGS = {
    "debian": "'apt-get install debian-archive-keyring'",
    "ubuntu": (
        "'apt-get install ubuntu-keyring' (on Debian 12 with the package from "
        "https://packages.debian.org/trixie/ubuntu-archive-keyring)"
    ),
}
# Debian's apt has the priority "required", which the variant installs; Ubuntu's is "important".
_NOT_REQUIRED = {"ubuntu": ("apt",)}
# As in the official image; mmdebstrap's own choice has neither python3-venv nor tini.
_COMPONENTS = {"ubuntu": "main,restricted,universe,multiverse"}
_TIMEOUT = 1800.0
_TAIL = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to bootstrap: `suite` of `distribution`, with or without manuals, and extra packages."""

    distribution: str
    suite: str
    slim: bool = False
    packages: tuple[str, ...] = ()

    @classmethod
    def of(cls, reference: Reference) -> Recipe | None:
        """The recipe for an image, or None if it is not a plain Debian or Ubuntu."""
        namespace, _, name = reference.repository.rpartition("/")
        if (reference.registry, namespace) != (DEFAULT_REGISTRY, DEFAULT_NAMESPACE):
            return None
        if reference.digest is not None:
            return None
        tag = reference.with_default_tag().tag or ""
        slim = name == "debian" and tag.endswith("-slim")
        suite = _SUITES.get(name, {}).get(tag.removesuffix("-slim") if slim else tag)
        return None if suite is None else cls(distribution=name, suite=suite, slim=slim)


def bootstrap(
    recipe: Recipe,
    target: Path,
    *,
    scratch: Path,
    on_output: Callable[[bytes], None] | None = None,
    apt: Path = APT,
) -> None:
    """Fill the empty directory `target` with the base system. Takes about twenty seconds."""
    program = command.find("mmdebstrap")
    if program is None:
        message = (
            f"cannot bootstrap {recipe.distribution} {recipe.suite}: mmdebstrap is not installed; "
            "install it with 'apt-get install mmdebstrap'"
        )
        raise ProgramMissing(message)
    began = time.time()
    sources = scratch / f"{recipe.suite}.sources"
    sources.write_text(sources_for(recipe.suite, apt))
    _mmdebstrap(program, recipe, target, sources, on_output)
    for name in _LEFTOVERS:
        _empty(target / name)
    for name in _OF_THIS_MACHINE:
        (target / name).unlink(missing_ok=True)
    for name, (mode, text) in _OWN_FILES.items():
        path = target / name
        path.write_text(text)
        path.chmod(mode)
    complete_devices(target / "dev")
    _settle_times(target, began)


def sources_for(suite: str, apt: Path = APT) -> str:
    """The apt sources of this machine for a suite, in deb822 format.

    Empty if there are none; mmdebstrap then uses the distribution's own mirror.
    """
    fitting = [stanza for stanza in _stanzas(apt) if _serves(stanza, suite)]
    return "\n".join(
        "".join(f"{key}: {value}\n" for key, value in stanza.items()) for stanza in fitting
    )


def arguments(recipe: Recipe, target: Path, sources: Path) -> list[str | Path]:
    """The arguments of mmdebstrap; `sources` is a file, empty where this machine has none."""
    argv: list[str | Path] = ["--variant=minbase", "--format=directory"]
    if os.geteuid() == 0:
        argv.append("--mode=root")
    if packages := (*_NOT_REQUIRED.get(recipe.distribution, ()), *recipe.packages):
        argv.append("--include=" + ",".join(packages))
    if recipe.slim:
        argv += [f"--dpkgopt=path-exclude=/usr/share/{name}" for name in _SLIM_EXCLUDES]
        argv += [f"--dpkgopt=path-include=/usr/share/{name}" for name in _SLIM_INCLUDES]
    if sources.stat().st_size:
        return [*argv, recipe.suite, target, sources]
    if components := _COMPONENTS.get(recipe.distribution):
        argv.append(f"--components={components}")
    return [*argv, recipe.suite, target]


def _mmdebstrap(
    program: Path,
    recipe: Recipe,
    target: Path,
    sources: Path,
    on_output: Callable[[bytes], None] | None,
) -> None:
    argv = [program, *arguments(recipe, target, sources)]
    with command.start(
        argv,
        env={"SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8", "HOME": "/root"},
        stdout=command.DEVNULL,
        stderr=command.PIPE,
    ) as process:
        tail = _follow(process.stderr, on_output)
        try:
            status = process.wait(timeout=_TIMEOUT)
        finally:
            process.kill()
    if status != 0:
        reason = b"".join(tail).decode(errors="replace").strip()
        message = (
            f"failed to bootstrap {recipe.distribution} {recipe.suite}: mmdebstrap exited with "
            f"status {status}:\n{reason}\n{next_step(recipe, reason)}"
        )
        raise BootstrapFailed(message)


def next_step(recipe: Recipe, reason: str) -> str:
    """What to do after mmdebstrap has failed with these last lines."""
    if "NO_PUBKEY" in reason:
        return (
            f"the keys of {recipe.distribution} are not on this machine: install them with "
            f"{_KEYRINGS[recipe.distribution]}, or use a registry or mirror that has the image"
        )
    return f"check that the package mirrors in {APT} can be reached: apt-get update"


def _follow(output: IO[bytes] | None, on_output: Callable[[bytes], None] | None) -> list[bytes]:
    tail: list[bytes] = []
    for line in output or ():
        tail = [*tail[1 - _TAIL :], line]
        if on_output is not None:
            on_output(line)
    return tail


def _stanzas(apt: Path) -> Iterator[dict[str, str]]:
    lists = apt / "sources.list.d"
    for path in sorted(lists.glob("*.sources")):
        for block in re.split(r"\n\s*\n", path.read_text()):
            if (stanza := _deb822(block)) and stanza.get("Enabled", "yes").lower() != "no":
                yield stanza
    for path in (apt / "sources.list", *sorted(lists.glob("*.list"))):
        if path.is_file():
            yield from filter(None, map(_one_line, path.read_text().splitlines()))


def _deb822(block: str) -> dict[str, str]:
    stanza: dict[str, str] = {}
    key = ""
    for line in block.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and key:
            stanza[key] += f"\n{line}"
        elif ":" in line:
            key, _, value = line.partition(":")
            stanza[key] = value.strip()
    return stanza if "deb" in stanza.get("Types", "").split() else {}


def _one_line(line: str) -> dict[str, str] | None:
    found = re.fullmatch(
        r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+([^#]*\S)\s*(?:#.*)?", line.strip()
    )
    if found is None:
        return None
    options, uri, suite, components = found.groups()
    stanza = {"Types": "deb", "URIs": uri, "Suites": suite, "Components": components}
    for option in (options or "").split():
        name, _, value = option.partition("=")
        if name == "signed-by":
            stanza["Signed-By"] = value
        elif name == "trusted":
            stanza["Trusted"] = value
    return stanza


def _serves(stanza: dict[str, str], suite: str) -> bool:
    return any(name.partition("-")[0] == suite for name in stanza.get("Suites", "").split())


def complete_devices(dev: Path) -> None:
    """Create what mmdebstrap leaves out in a user namespace: the layer is the same everywhere."""
    if (dev / "null").exists():
        return
    for name in _DEVICE_DIRECTORIES:
        (dev / name).mkdir(exist_ok=True)
        (dev / name).chmod(0o755)
    for name, link in _DEVICE_LINKS.items():
        (dev / name).symlink_to(link)
    for name, (major, minor) in _DEVICES.items():
        make_device(str(dev / name), stat.S_IFCHR, os.makedev(major, minor))
        (dev / name).chmod(0o666)
    packaged = (dev.parent / "proc").stat().st_mtime_ns  # of base-files, which has both
    os.utime(dev, ns=(packaged, packaged))


def _empty(path: Path) -> None:
    """Empty a directory or a file; a missing one stays missing."""
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            if child.is_dir() and not child.is_symlink():
                remove_tree(child)
            else:
                child.unlink()
    elif path.is_file():
        path.write_bytes(b"")


def _settle_times(root: Path, began: float) -> None:
    """Lower the times of files that the run wrote to that of the newest packaged file."""
    found = [
        Path(folder, name)
        for folder, folders, files in os.walk(root)
        for name in (*folders, *files)
    ]
    times = {path: path.lstat() for path in (root, *found)}
    packaged = [
        int(status.st_mtime)
        for status in times.values()
        if status.st_mtime < began and stat.S_ISREG(status.st_mode)
    ]
    newest = max(packaged, default=0)
    for path, status in times.items():
        moment = min(int(status.st_mtime), newest)
        os.utime(path, (moment, moment), follow_symlinks=False)
