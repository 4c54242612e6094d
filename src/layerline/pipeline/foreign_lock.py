"""Locks that other tools wrote: `uv.lock`, `poetry.lock`, `pylock.toml` and hashed requirements.

They are read for one platform and written down as this pipeline's own lock has it: versions, hashes
and who requires whom. Nothing is resolved again. Packages that no requirement of the groups leads
to are left out; URLs are not used, the hashes decide.

https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile, PEP 751 (pylock.toml),
https://github.com/python-poetry/poetry/blob/main/src/poetry/packages/locker.py
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from layerline.pipeline import lock
from layerline.pipeline.definition import Definition, from_source
from layerline.pipeline.layer import INSTALLER
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import platform_of, recorded_projects, recorded_sources
from layerline.pipeline.platform import Platform
from layerline.pipeline.requirement import normalize_name, project

Table = Mapping[str, Any]
# What is built from a directory of the repository, in the words of uv.lock.
_OWN = ("virtual", "editable", "directory", "path")
_PIN = re.compile(r"^(?P<requirement>[A-Za-z0-9][^\s;]*)\s*(?:;(?P<marker>[^\\]*?))?\s*\\?$")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_VIA = re.compile(r"^\s+#\s+(?:via\s+)?(?P<names>[A-Za-z0-9][^()]*?)\s*(?:\(.*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A package that another one requires, with extras and a marker; `version` if it is given."""

    name: str
    extras: tuple[str, ...] = ()
    marker: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A locked package; `dependencies` are by extra, those of the package itself by "".

    `files` are the names of its files, where the lock has them.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    dependencies: Mapping[str, Sequence[Dependency]] = field(default_factory=dict)
    markers: tuple[str, ...] = ()
    origin: str = ""
    files: tuple[str, ...] = ()


def read(
    path: str,
    text: str,
    requirements: Iterable[str],
    platform: Platform,
    *,
    without: Collection[str] = (),
) -> str:
    """A lock of another tool as pins, for the requirements of all groups."""
    return "".join(_select(path, text, requirements, platform, without).lines())


def without_wheel(
    theirs: str, definition: Definition, target: str, platform: Platform
) -> dict[str, str]:
    """The packages of another tool's lock that no wheel of it is for, with their versions."""
    chosen = _select_for(theirs, definition, target, platform).chosen.values()
    return {
        each.name: each.version
        for each in chosen
        if each.files and not any(map(platform.accepts, filter(_is_wheel, each.files)))
    }


def _is_wheel(file: str) -> bool:
    return file.endswith(".whl")


def _select_for(
    theirs: str, definition: Definition, target: str, platform: Platform
) -> "_Selection":
    groups = definition.groups_of(target).values()
    requirements = [each for group in groups for each in group.requirements_for(target)]
    without = {normalize_name(each) for group in groups for each in group.without}
    return _select(definition.target(target).lock, theirs, requirements, platform, without)


def _select(
    path: str,
    text: str,
    requirements: Iterable[str],
    platform: Platform,
    without: Collection[str],
) -> "_Selection":
    packages, knows_dependencies = _parse(path, text)
    packages = {name: them for name, them in packages.items() if name not in without}
    wanted = [Requirement(each) for each in requirements if platform.wants(each)]
    selection = _Selection(path=path, packages=packages, platform=platform)
    for each in wanted:
        extras = tuple(map(normalize_name, sorted(each.extras)))
        selection.add(Dependency(name=normalize_name(each.name), extras=extras), parent="")
    if not knows_dependencies:
        # Any group may need any of the others, so they are shared.
        for name in packages:
            for root in wanted:
                selection.add(Dependency(name=name), parent=normalize_name(root.name))
    return selection


def merge(own: str, theirs: str, definition: Definition, target: str) -> str:
    """A target's lock: of its own one the installer and what builds packages, and the other one."""
    taken = "".join(_select_for(theirs, definition, target, platform_of(own)).lines())
    return own_part(own, definition, target) + taken


def own_part(own: str, definition: Definition, target: str) -> str:
    """The part of an own lock that another tool's lacks: the installer and what builds packages."""
    pins = lock.parse(own)
    platform = platform_of(own)
    groups = definition.groups_of(target).values()
    built_by = {**recorded_sources(own), **from_source(groups)}.values()
    builders = {name for by in built_by for name in by}
    for by in recorded_projects(own).values():
        builders |= {project(each) for each in by if platform.wants(each)}
    kept = lock.closure(pins, {INSTALLER, *builders})
    header = "".join(f"{line}\n" for line in own.splitlines() if line.startswith("# "))
    ours = "".join(
        lock.requirements([pins[name]])
        + "".join(f"    # via {each}\n" for each in sorted(pins[name].required_by & kept))
        for name in sorted(kept)
    )
    return header + ours


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    """Those packages of a lock that are reached on a platform, with the packages that led there."""

    path: str
    packages: Mapping[str, Sequence[Package]]
    platform: Platform
    parents: dict[str, set[str]] = field(default_factory=dict)
    chosen: dict[str, Package] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, dependency: Dependency, *, parent: str) -> None:
        """Select a package and what it depends on, with its extras."""
        waiting = [(dependency, parent)]
        while waiting:
            each, parent = waiting.pop()
            if not self.platform.holds(each.marker):
                continue
            package = self._find(each)
            if package is None:
                continue
            self.chosen.setdefault(each.name, package)
            self.parents.setdefault(each.name, set()).update({parent} - {"", each.name})
            for extra in ("", *each.extras):
                if (each.name, extra) not in self.seen:
                    self.seen.add((each.name, extra))
                    waiting += [(one, each.name) for one in package.dependencies.get(extra, ())]

    def _find(self, dependency: Dependency) -> Package | None:
        """The locked version for this platform; None if the lock has none, which others report."""
        known = [
            each
            for each in self.packages.get(dependency.name, ())
            if dependency.version in ("", each.version)
        ]
        here = [
            each
            for each in known
            if not each.markers or any(map(self.platform.holds, each.markers))
        ]
        package = next(iter(here), None)
        if package is None:
            return None
        if package.origin:
            message = (
                f"{self.path} has {package.name} from {package.origin}, which has no hash of a "
                "wheel: take a release of it, or leave it out with 'without'"
            )
            raise LockError(message)
        if not package.hashes:
            message = f"{self.path} has no hashes for {package.name}: {_how_to_hash(self.path)}"
            raise LockError(message)
        return package

    def lines(self) -> Iterator[str]:
        """Yield the pins, sorted by name, as `uv pip compile` writes them."""
        for name, package in sorted(self.chosen.items()):
            yield f"{name}=={package.version}"
            yield from (f" \\\n    --hash={each}" for each in sorted(set(package.hashes)))
            if parents := sorted(self.parents[name]):
                yield f"\n    # via {', '.join(parents)}"
            yield "\n"


def _how_to_hash(path: str) -> str:
    if path.endswith(".txt"):
        return "write it with --generate-hashes (uv, pip-tools)"
    return "update it with the tool that wrote it"


def _parse(path: str, text: str) -> tuple[dict[str, list[Package]], bool]:
    """The packages of a lock by name, and whether it says what they depend on."""
    name = path.rpartition("/")[2]
    if name.endswith(".txt"):
        found = [*_of_requirements(path, text)]
    else:
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            message = f"{path} is not TOML: {exc}"
            raise LockError(message) from exc
        if name.startswith("pylock"):
            found = [_of_pylock(table) for table in document.get("packages", [])]
        elif "metadata" in document:
            found = [_of_poetry(table) for table in document.get("package", [])]
        else:
            found = [_of_uv(table) for table in document.get("package", [])]
    packages: dict[str, list[Package]] = {}
    for each in found:
        packages.setdefault(each.name, []).append(each)
    return packages, any(each.dependencies for each in found)


def _of_uv(table: Table) -> Package:
    source = table.get("source", {})
    kind = next(iter(source), "registry")
    origin = "" if kind == "registry" else f"{kind} {source[kind]}"
    files = [*table.get("wheels", ()), *([table["sdist"]] if "sdist" in table else [])]
    optional = table.get("optional-dependencies", {})
    return Package(
        name=normalize_name(table["name"]),
        version=str(table.get("version", "")),
        hashes=tuple(each["hash"] for each in files if "hash" in each),
        dependencies={
            "": [_uv_dependency(each) for each in table.get("dependencies", ())],
            **{
                normalize_name(extra): [_uv_dependency(each) for each in them]
                for extra, them in optional.items()
            },
        },
        markers=tuple(table.get("resolution-markers", ())),
        origin="a directory of the repository" if kind in _OWN else origin,
        files=_names(files),
    )


def _uv_dependency(table: Table) -> Dependency:
    return Dependency(
        name=normalize_name(table["name"]),
        extras=tuple(map(normalize_name, table.get("extra", ()))),
        marker=table.get("marker", ""),
        version=table.get("version", ""),
    )


def _of_poetry(table: Table) -> Package:
    extras = {
        normalize_name(extra): {normalize_name(Requirement(each).name) for each in them}
        for extra, them in table.get("extras", {}).items()
    }
    dependencies: dict[str, list[Dependency]] = {"": []}
    for name, written in table.get("dependencies", {}).items():
        for each in written if isinstance(written, list) else [written]:
            details = each if isinstance(each, dict) else {}
            made = Dependency(
                name=normalize_name(name),
                extras=tuple(map(normalize_name, details.get("extras", ()))),
                # Which extra wants it stands in `extras` as well, and decides there.
                marker=_without_extra(details.get("markers", "")),
            )
            if not details.get("optional"):
                dependencies[""].append(made)
            for extra, names in extras.items():
                if details.get("optional") and made.name in names:
                    dependencies.setdefault(extra, []).append(made)
    source = table.get("source", {})
    kind = source.get("type", "legacy")
    markers = table.get("markers", ())
    return Package(
        name=normalize_name(table["name"]),
        version=table["version"],
        hashes=tuple(each["hash"] for each in table.get("files", ())),
        dependencies=dependencies,
        markers=(markers,) if isinstance(markers, str) else (),
        origin="" if kind == "legacy" else f"{kind} {source.get('url', '')}",
        files=tuple(each["file"] for each in table.get("files", ())),
    )


def _without_extra(marker: str) -> str:
    """A marker without its conditions on extras, which poetry joins with `and`."""
    parts = [each for each in marker.split(" and ") if not each.strip("( ").startswith("extra ")]
    return " and ".join(parts) if " or " not in marker else ""


def _of_pylock(table: Table) -> Package:
    files = [*table.get("wheels", ()), *(table[key] for key in ("sdist",) if key in table)]
    alien = [key for key in ("vcs", "directory", "archive") if key in table]
    marker = table.get("marker", "")
    return Package(
        name=normalize_name(table["name"]),
        version=table.get("version", ""),
        hashes=tuple(
            f"sha256:{each['hashes']['sha256']}" for each in files if "sha256" in each["hashes"]
        ),
        dependencies={
            "": [Dependency(name=normalize_name(each["name"])) for each in table["dependencies"]]
        }
        if "dependencies" in table
        else {},
        markers=(marker,) if marker else (),
        origin=alien[0] if alien else "",
        files=_names(files),
    )


def _names(files: Iterable[Table]) -> tuple[str, ...]:
    """The names of files that a lock has with their names or their URLs."""
    given = (each.get("name") or each.get("url") or each.get("path") or "" for each in files)
    return tuple(filter(None, (unquote(urlsplit(str(each)).path).split("/")[-1] for each in given)))


def _of_requirements(path: str, text: str) -> Iterator[Package]:
    """Yield the pins of a requirements file, with what its `# via` comments say."""
    requiring: dict[str, set[str]] = {}
    pins: dict[str, Package] = {}
    for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]:
        first, *lines = block.splitlines()
        found = _PIN.match(re.sub(r"\s*--hash=\S+|\\$", "", first).strip())
        try:
            requirement = Requirement(found["requirement"] if found else first)
        except InvalidRequirement as exc:
            message = f"{path} has {first!r}, which is not a requirement"
            raise LockError(message) from exc
        [version] = [each.version for each in requirement.specifier if each.operator == "=="] or [
            ""
        ]
        name = normalize_name(requirement.name)
        pins[name] = Package(
            name=name,
            version=version,
            hashes=tuple(_HASH.findall(block)),
            markers=tuple(filter(None, [((found and found["marker"]) or "").strip()])),
            origin=f"a line that pins no version ({first.strip()})" if not version else "",
        )
        for line in lines:
            if via := _VIA.match(line):
                for parent in via["names"].split(","):
                    requiring.setdefault(normalize_name(parent.strip()), set()).add(name)
    for name, package in pins.items():
        them = [Dependency(name=each) for each in sorted(requiring.get(name, ()))]
        yield Package(
            name=name,
            version=package.version,
            hashes=package.hashes,
            dependencies={"": them} if them else {},
            markers=package.markers,
            origin=package.origin,
        )
