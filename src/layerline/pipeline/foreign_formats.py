"""The formats of locks that other tools write: `uv.lock`, `poetry.lock`, PEP 751, requirements.

https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile, PEP 751 (pylock.toml),
https://github.com/python-poetry/poetry/blob/main/src/poetry/packages/locker.py
"""

import functools
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from layerline.pipeline.lock import LockError
from layerline.pipeline.requirement import normalize_name

Table = Mapping[str, Any]
# How a pin names a directory of the repository, which is built as a project.
DIRECTORY = "directory:"
FILE = "from the file {}"
# Where packages of uv.lock come from, and what is said of those that are not taken.
_UV_KINDS = {
    **dict.fromkeys(("registry", "git", "url", "editable", "directory"), ""),
    "virtual": "from a directory of the repository that is not a package ({})",
    "path": FILE,
}
_COMMIT = re.compile(r"@[0-9a-f]{40}(?:#|$)")
_SCP = re.compile(r"^(?P<host>[^/:]+@[^/:]+):(?P<path>[^/].*)$")
_PIN = re.compile(
    r"^(?P<requirement>[A-Za-z0-9][^\s;]*(?: @ [^\s;]+)?)\s*(?:;(?P<marker>[^\\]*?))?\s*\\?$"
)
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_HASHES = re.compile(r"\s*--hash=\S+|\s*\\$|\s+#.*$")
# Lines of requirements that name no package: https://pip.pypa.io/en/stable/reference/requirements-file-format/
_EDITABLE = re.compile(r"^(?:-e|--editable)[ =]\s*(?P<place>\S.*)$")
_PATH = re.compile(r"^(?:\.{1,2}(?:/|$)|/|file:)")
_MORE = re.compile(r"^(?:-r|--requirement)\b")
_ARCHIVE = re.compile(r"\.(?:whl|zip|tar\.\w+|tgz)$")
_WAY_OF_FILES = (
    "require its version, with its directory among the find-links of the tool that locks and as "
    "--wheelhouse here"
)
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

    `files` are the names of its files, where the lock has them. `url` is that of a package which is
    not from an index: of a commit, an archive, a wheel, or `directory:PATH` of the repository.
    `refused` says why a package cannot be taken.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    dependencies: Mapping[str, Sequence[Dependency]] = field(default_factory=dict)
    markers: tuple[str, ...] = ()
    url: str = ""
    refused: str = ""
    files: tuple[str, ...] = ()

    @property
    def way(self) -> str:
        """What to do where it cannot be taken."""
        is_file = self.refused.startswith(FILE.partition("{")[0])
        return _WAY_OF_FILES if is_file else "take a release of it"

    @property
    def reason(self) -> str:
        """Why it cannot be taken; empty if it can."""
        if self.url.startswith("git+") and not _COMMIT.search(self.url):
            return f"from {self.url.rstrip('@')}, which names no commit"
        return self.refused


_KNOWN = "uv.lock, poetry.lock, pylock.*.toml or requirements with hashes, as the tool wrote it"


@functools.lru_cache(maxsize=4)
def parse(path: str, text: str) -> tuple[Mapping[str, Sequence[Package]], bool]:
    """The packages of a lock by name, and whether it says what they depend on.

    Kept, as each image of a target asks for what it needs of the same lock.
    """
    name, home = posixpath.basename(path), posixpath.dirname(path)
    if name.endswith(".txt"):
        found = [*_of_requirements(path, text)]
    else:
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            message = f"{path} is not TOML: {exc}: use {_KNOWN}"
            raise LockError(message) from exc
        if name.startswith("pylock"):
            found = [_of_pylock(table, home) for table in document.get("packages", [])]
        elif "metadata" in document:
            found = [_of_poetry(table, home) for table in document.get("package", [])]
        else:
            found = [_of_uv(table, home) for table in document.get("package", [])]
    packages: dict[str, list[Package]] = {}
    for each in found:
        packages.setdefault(each.name, []).append(each)
    return packages, any(each.dependencies for each in found)


def _of_uv(table: Table, home: str) -> Package:
    source = table.get("source", {})
    kind = next((each for each in _UV_KINDS if each in source), "registry")
    place = str(source.get(kind, ""))
    url, refused = "", ""
    if kind == "git":
        plain, _, commit = place.partition("#")
        plain, _, query = plain.partition("?")
        subdirectory = parse_qs(query).get("subdirectory", [""])[0]
        url = _git(plain, commit, subdirectory)
    elif kind == "url":
        url = place
    elif kind in ("editable", "directory"):
        url = _directory(home, place)
    elif kind != "registry":
        refused = _UV_KINDS[kind].format(place)
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
        url=url,
        refused=refused,
        files=_names(files),
    )


def _uv_dependency(table: Table) -> Dependency:
    return Dependency(
        name=normalize_name(table["name"]),
        extras=tuple(map(normalize_name, table.get("extra", ()))),
        marker=table.get("marker", ""),
        version=table.get("version", ""),
    )


def _of_poetry(table: Table, home: str) -> Package:
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
    kind, place = source.get("type", "legacy"), source.get("url", "")
    urls = {"url": place, "directory": _directory(home, place)}
    if kind == "git":
        commit = source.get("resolved_reference", "")
        urls["git"] = _git(place, commit, source.get("subdirectory", ""))
    markers = table.get("markers", ())
    return Package(
        name=normalize_name(table["name"]),
        version=table["version"],
        hashes=tuple(each["hash"] for each in table.get("files", ())),
        dependencies=dependencies,
        markers=(markers,) if isinstance(markers, str) else (),
        url=urls.get(kind, ""),
        refused="" if kind in ("legacy", *urls) else _refuse(kind, place),
        files=tuple(each["file"] for each in table.get("files", ())),
    )


def _without_extra(marker: str) -> str:
    """A marker without its conditions on extras, which poetry joins with `and`."""
    parts = [each for each in marker.split(" and ") if not each.strip("( ").startswith("extra ")]
    return " and ".join(parts) if " or " not in marker else ""


def _of_pylock(table: Table, home: str) -> Package:
    # https://packaging.python.org/en/latest/specifications/pylock-toml/
    vcs, archive, directory = (table.get(key, {}) for key in ("vcs", "archive", "directory"))
    url, refused = "", ""
    if vcs.get("type") == "git" and "url" in vcs:
        url = _git(vcs["url"], vcs.get("commit-id", ""), vcs.get("subdirectory", ""))
    elif directory:
        place = posixpath.join(directory.get("path", ""), directory.get("subdirectory", ""))
        url = _directory(home, place)
    elif "url" in archive:
        url = str(archive["url"])
    elif vcs or archive:
        refused = _refuse(vcs.get("type", "file"), (vcs or archive).get("path", ""))
    files = [*table.get("wheels", ()), *(table[key] for key in ("sdist",) if key in table)]
    files += [archive] if archive else []
    marker = table.get("marker", "")
    return Package(
        name=normalize_name(table["name"]),
        version=table.get("version", ""),
        hashes=tuple(
            f"sha256:{each['hashes']['sha256']}"
            for each in files
            if "sha256" in each.get("hashes", {})
        ),
        dependencies={
            "": [Dependency(name=normalize_name(each["name"])) for each in table["dependencies"]]
        }
        if "dependencies" in table
        else {},
        markers=(marker,) if marker else (),
        url=url,
        refused=refused,
        files=_names(files),
    )


def _refuse(kind: str, place: str) -> str:
    return FILE.format(place) if kind == "file" else f"from the {kind} {place}"


def _url(requirement: Requirement) -> str:
    """Where a line of a requirements file says that a package is from; empty for an index."""
    url = requirement.url or ""
    place = url.removeprefix("file:")
    is_here = place != url or not urlsplit(url).scheme
    if url and is_here and not place.startswith("/") and not _ARCHIVE.search(place):
        return _directory("", place)
    return url


def _unpinned(line: str, url: str, version: str) -> str:
    """Why a line of a requirements file cannot be taken; empty if it can."""
    if url and _ARCHIVE.search(url) and not urlsplit(url).netloc:
        return FILE.format(url)
    if url and not url.startswith(("git+", "https://", "http://", DIRECTORY)):
        return f"from {url}"
    return "" if url or version else f"from a line that pins no version ({line.strip()})"


def _git(url: str, commit: str, subdirectory: str) -> str:
    """The URL of one commit, in the form that pip and uv read."""
    if scp := _SCP.match(url):
        url = f"ssh://{scp['host']}/{scp['path']}"
    fragment = f"#subdirectory={subdirectory}" if subdirectory else ""
    return f"git+{url.removeprefix('git+')}@{commit}{fragment}"


def _directory(home: str, path: str) -> str:
    """The URL of a directory of the repository; `home` is that of the lock."""
    return DIRECTORY + posixpath.normpath(posixpath.join(home, path))


def _names(files: Iterable[Table]) -> tuple[str, ...]:
    """The names of files that a lock has with their names or their URLs."""
    given = (each.get("name") or each.get("url") or each.get("path") or "" for each in files)
    return tuple(filter(None, (unquote(urlsplit(str(each)).path).split("/")[-1] for each in given)))


def unnamed_directories(path: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of requirements that name a directory alone: `PATH:NUMBER: 'LINE'`, and it.

    A `LockError` if a line names a file or more requirements, which are not taken.
    """
    for number, line in enumerate(text.splitlines(), 1):
        plain = _HASHES.sub("", line).strip()
        where = f"{path}:{number}: {plain!r}"
        editable = _EDITABLE.match(plain)
        place = editable["place"] if editable else plain
        if _MORE.match(plain):
            message = f"{where} is not followed: lock all requirements into one file with hashes"
            raise LockError(message)
        if line[:1].isspace() or not (editable or _PATH.match(plain)):
            continue
        if place.startswith("git+"):
            message = f"{where} names no package: write it as NAME @ {place}, without -e"
            raise LockError(message)
        if _ARCHIVE.search(place):
            message = f"{where} is a file, which is not taken as it is: {_WAY_OF_FILES}"
            raise LockError(message)
        yield where, place.removeprefix("file:").partition("[")[0]


def _of_requirements(path: str, text: str) -> Iterator[Package]:
    """Yield the pins of a requirements file, with what its `# via` comments say."""
    requiring: dict[str, set[str]] = {}
    pins: dict[str, Package] = {}
    for block in re.split(r"^(?=[A-Za-z0-9./]|-(?!-hash))", text, flags=re.MULTILINE):
        if not re.match(r"(?!file:)[A-Za-z0-9]", block):
            continue
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
            url=_url(requirement),
            refused=_unpinned(first, _url(requirement), version),
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
            url=package.url,
            refused=package.refused,
        )
