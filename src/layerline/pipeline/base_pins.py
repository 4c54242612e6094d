"""What a lock pins of the base: its digest, and the distribution's packages with theirs.

They are comments in the first lines of the lock, which other tools skip. A lock without them is one
whose base and packages are whatever their registry and mirror have.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.lock import LockError

_BASE = re.compile(r"^# base: (?P<image>\S+) (?P<digest>sha256:[0-9a-f]{64})$", re.MULTILINE)
_PACKAGES = re.compile(r"^# (?P<extra>extra )?packages: (?P<names>.+)$", re.MULTILINE)
_DEB = re.compile(
    r"^# (?P<extra>extra )?deb: (?P<deb>\S+ \S+ \S+ sha256:[0-9a-f]{64})$", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Deb:
    """A package of the distribution; `digest` is that of its file."""

    name: str
    version: str
    architecture: str
    digest: str

    @classmethod
    def of(cls, fields: Sequence[str]) -> "Deb":
        """The package of a line: name, version, architecture and digest."""
        name, version, architecture, digest = fields
        return cls(name=name, version=version, architecture=architecture, digest=digest)

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.architecture} {self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePins:
    """The base by its digest, and what apt installs on it.

    `packages` are those of `base.packages`, and `debs` what apt installs for them. `extra_packages`
    are those of groups and of builds, and `extra_debs` what these need in addition.
    """

    image: str
    digest: str
    packages: tuple[str, ...]
    extra_packages: tuple[str, ...] = ()
    debs: tuple[Deb, ...] = ()
    extra_debs: tuple[Deb, ...] = ()

    @classmethod
    def read(cls, text: str) -> "BasePins | None":
        """The pins in a lock; None if it has none."""
        base = _BASE.search(text)
        if base is None:
            return None
        names: dict[bool, list[str]] = {False: [], True: []}
        for each in _PACKAGES.finditer(text):
            names[bool(each["extra"])] += each["names"].split()
        debs: dict[bool, list[Deb]] = {False: [], True: []}
        for each in _DEB.finditer(text):
            debs[bool(each["extra"])].append(Deb.of(each["deb"].split()))
        return cls(
            image=base["image"],
            digest=base["digest"],
            packages=tuple(names[False]),
            extra_packages=tuple(names[True]),
            debs=tuple(debs[False]),
            extra_debs=tuple(debs[True]),
        )

    @property
    def reference(self) -> str:
        """The base image with its digest."""
        return f"{self.image.partition('@')[0]}@{self.digest}"

    def lines(self) -> Iterator[str]:
        """Yield the lines that `read` reads."""
        yield f"# base: {self.image} {self.digest}"
        yield f"# packages: {' '.join(self.packages)}"
        if self.extra_packages:
            yield f"# extra packages: {' '.join(self.extra_packages)}"
        yield from (f"# deb: {each}" for each in sorted(self.debs))
        yield from (f"# extra deb: {each}" for each in sorted(self.extra_debs))

    def of(self, packages: Sequence[str]) -> tuple[Deb, ...]:
        """The files to install from, for packages in addition to those of the base."""
        return (*self.debs, *self.extra_debs) if set(packages) - set(self.packages) else self.debs

    def misfits(self, definition: Definition) -> Iterator[str]:
        """Yield where the pins do not fit the definition."""
        image = definition.base.image
        if self.image != image:
            yield f"the lock has the base {self.image}; base.image is {image}"
        for kind, was, now in (
            ("base.packages", self.packages, tuple(sorted(definition.base.packages))),
            ("packages of groups and builds", self.extra_packages, extra_packages(definition)),
        ):
            if was != now:
                changed = ", ".join(sorted(set(was) ^ set(now)))
                yield f"the lock has other {kind}: {changed}"


def extra_packages(definition: Definition) -> tuple[str, ...]:
    """The packages of groups and of builds that those of the base do not name."""
    more = {name for group in definition.groups.values() for name in group.packages}
    return tuple(sorted({*more, *definition.base.build_packages} - {*definition.base.packages}))


def read_fitting(text: str, definition: Definition, target: str) -> BasePins | None:
    """The pins of a target's lock; a `LockError` lists where they do not fit the definition."""
    pins = BasePins.read(text)
    if pins is not None and (wrong := list(pins.misfits(definition))):
        heading = (
            f"{lock.path(target)} is out of date with {FILE}: "
            f"regenerate it with '{lock.command(target)}'"
        )
        raise LockError("\n  ".join([heading, *wrong]))
    return pins


def read_earlier(text: str, definition: Definition, target: str) -> BasePins:
    """The pins of the lock whose layers a patch keeps; a `LockError` says why it cannot."""
    pins = BasePins.read(text)
    if pins is None:
        message = (
            f"the lock of {target} does not pin the base that its layers are on: pin it with "
            f"'{upgrade_command(target)}', and patch from then on"
        )
        raise LockError(message)
    if wrong := list(pins.misfits(definition)):
        heading = f"the layers of {target} cannot be patched: their lock does not fit {FILE}"
        raise LockError("\n  ".join([heading, *wrong]))
    return pins


def insert_pins(text: str, pins: BasePins | None) -> str:
    """A lock with pins after its record of what it was resolved from."""
    if pins is None:
        return text
    lines = text.splitlines(keepends=True)
    header = next(
        (place for place, line in enumerate(lines) if not line.startswith("#")), len(lines)
    )
    return "".join([*lines[:header], *(f"{line}\n" for line in pins.lines()), *lines[header:]])


def without_pins(text: str) -> str:
    """A lock without its pins."""
    pins = (_BASE, _PACKAGES, _DEB)
    kept = [line for line in text.splitlines(True) if not any(each.match(line) for each in pins)]
    return "".join(kept)


def upgrade_command(target: str) -> str:
    """The command that pins the base and its packages as they are offered now."""
    return lock.command(target).replace(" export ", " --upgrade-base export ")


def advice(target: str) -> str:
    """What is said of a lock without pins."""
    return (
        f"{lock.path(target)} pins neither the base nor the distribution's packages: pin them with "
        f"'{upgrade_command(target)}'"
    )


def variables(debs: Sequence[Deb], target: str) -> str:
    """The variables of `pinned_packages.sh`, in the shell's language."""
    pins = "\n".join(map(str, sorted(debs)))
    return f"PINS={shlex.quote(pins)}\nUPGRADE_BASE={shlex.quote(upgrade_command(target))}\n"
