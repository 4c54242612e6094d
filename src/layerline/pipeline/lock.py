"""A target's lock: one joint resolution of all its groups, as `uv pip compile` writes it."""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from layerline.pipeline.errors import PipelineError
from layerline.pipeline.requirement import normalize_name

_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)")
_URL_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])? @ (?P<url>\S+)")
_VERSION = re.compile(r"^# version: (?P<name>\S+) (?P<version>\S+)$", re.MULTILINE)
_WHEEL = re.compile(
    r"^# wheel: (?P<name>\S+) sha256:(?P<hash>[0-9a-f]{64})(?: from (?P<source>\S+))?$",
    re.MULTILINE,
)
_MERGE = ("<<<<<<<", "=======", ">>>>>>>")  # git-merge(1), "How conflicts are presented"
_HASH = re.compile(r"--hash=(\S+)")
_COMMENT = re.compile(r"^\s*#")
_VIA = re.compile(r"^\s+#\s+via\s+(?P<names>\S.*)$")


class LockError(PipelineError):
    """The lock does not match the definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One locked package: its lines with hashes, and the packages that require it.

    `url` is that of a package that is not from an index, which names a commit or has a hash.
    `wheel` is the hash of a wheel that is built and differs from build to build.
    """

    name: str
    version: str
    lines: tuple[str, ...]
    required_by: frozenset[str]
    url: str = ""
    wheel: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory of the repository, which is built as a project."""
        return self.url.startswith("directory:")

    @property
    def source(self) -> str:
        """What it is built from: the commit of a repository, or a hash of its files' hashes."""
        if self.url.startswith("git+"):
            return self.url.rpartition("@")[2]
        return "sha256:" + hashlib.sha256(" ".join(sorted(self.hashes)).encode()).hexdigest()

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes of its files, as `sha256:…`."""
        return tuple(found for line in self.lines for found in _HASH.findall(line))


def path(target: str) -> str:
    """The path of a target's lock in the source."""
    return f"locks/{target}.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWheel:
    """A wheel that differs from build to build: its hash, and what it is built from.

    `source` is empty where the lock has the package itself, whose lines say it.
    """

    digest: str
    source: str = ""

    def is_of(self, pin: Pin) -> bool:
        """Whether it is one of the locked package: a commit may move under the same version."""
        return self.source in ("", pin.source)

    def line(self, name: str) -> str:
        """The line of the lock that records it."""
        source = f" from {self.source}" if self.source else ""
        return f"# wheel: {name} sha256:{self.digest}{source}\n"


def recorded_wheels(text: str) -> dict[str, RecordedWheel]:
    """The wheels that differ from build to build, by package."""
    return {
        each["name"]: RecordedWheel(digest=each["hash"], source=each["source"] or "")
        for each in _WHEEL.finditer(text)
    }


def recorded_versions(text: str) -> dict[str, str]:
    """The versions of packages whose lines have none, or are in another tool's lock."""
    return {each["name"]: each["version"] for each in _VERSION.finditer(text)}


def command(target: str) -> str:
    """The command that writes a target's lock."""
    return f"layerline call lock --target={target} export --path={path(target)}"


def parse(text: str) -> dict[str, Pin]:
    """The pins of a lock that `uv pip compile --annotation-style line` wrote."""
    pins: dict[str, Pin] = {}
    versions, wheels = recorded_versions(text), recorded_wheels(text)
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)
    for lines in (block.splitlines() for block in blocks if block[:1].strip("#")):
        entry = _ENTRY.match(lines[0]) or _URL_ENTRY.match(lines[0])
        found = entry.groupdict() if entry is not None else {}
        name = normalize_name(found.get("name", ""))
        version = found.get("version") or versions.get(name)
        if version is None:
            marked = lines[0].startswith(_MERGE)
            what = "a mark of a merge conflict" if marked else "not a pinned version"
            message = (
                f"the lock has {lines[0]!r}, which is {what}: "
                "regenerate it with 'layerline call lock'"
            )
            raise LockError(message)
        via = [match["names"] for line in lines if (match := _VIA.match(line))]
        pin = Pin(
            name=name,
            version=version,
            url=found.get("url", ""),
            lines=tuple(line for line in lines if line.strip() and not _COMMENT.match(line)),
            required_by=frozenset(
                normalize_name(name) for names in via for name in names.split(", ")
            ),
        )
        if (wheel := wheels.get(name)) is not None and wheel.is_of(pin):
            pin = replace(pin, wheel=wheel.digest)
        pins[name] = pin
    return pins


def other_wheel(pin: Pin, found: str) -> str:
    """The message on a build that made another wheel than the one that the lock has."""
    return (
        f"{pin.name}=={pin.version} differs from build to build: the lock has the wheel "
        f"sha256:{pin.wheel}, this build made sha256:{found}; use the cache of the machine "
        "that wrote the lock (--cache), lock with a --wheelhouse that has a wheel of it, or "
        f"lock again with --upgrade={pin.name}"
    )


def closure(
    pins: Mapping[str, Pin], roots: Collection[str], *, stop: Collection[str] = ()
) -> frozenset[str]:
    """The roots and their transitive dependencies; those of `stop` are not followed."""
    if missing := sorted(name for name in roots if name not in pins):
        message = (
            f"the lock has no entry for {', '.join(missing)}: "
            "regenerate it with 'layerline call lock'"
        )
        raise LockError(message)
    found: set[str] = set()
    fresh = set(roots)
    while fresh:
        found |= fresh
        asking = fresh.difference(stop)
        fresh = {pin.name for pin in pins.values() if pin.required_by & asking} - found
    return frozenset(found)


def requirements(pins: Collection[Pin]) -> str:
    """The pins as a requirements file with hashes."""
    ordered = sorted(pins, key=lambda pin: pin.name)
    return "".join(f"{line}\n" for pin in ordered for line in pin.lines)
