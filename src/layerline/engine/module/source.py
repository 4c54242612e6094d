"""Where a module is: its dagger.json, its root, and the repository around it.

A directory that has no dagger.json but a layerline.toml is served by the pipeline that ships with
the tool: that module's code, with this directory as what its contextual paths mean.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import layerline
from layerline.engine.module.git_addresses import parse_reference
from layerline.errors import ModuleError
from layerline.text_file import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from layerline.engine.module.git_addresses import GitOrigin, GitReference

    FetchModule = Callable[[GitReference, str], "ModuleConfig"]

CONFIG = "dagger.json"
DEFINITION = "layerline.toml"
PROJECT_FILES = ("pyproject.toml", "uv.lock", "requirements.lock", ".python-version", ".env")
ENGINE_VERSION = "v0.21.8"
SELF_CALLS = "SELF_CALLS"
_FIRST_CACHING = (0, 19, 4)
_IGNORED = {"check": "ignoreChecks", "generator": "ignoreGenerators", "up": "ignoreServices"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A module that another one depends on.

    `name` is what the other one calls it, empty for its own name. `source` is as its dagger.json
    has it: a path relative to the root, or a git reference, whose commit is `pin`. Of a toolchain,
    `ignored` are the patterns of its checks, generators and services that are not the other one's.
    """

    name: str
    source: str
    pin: str = ""
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleConfig:
    """A dagger.json in `root`; `context` is the repository's root, `source` relative to `root`.

    `caching` is False where results of functions live for one session only unless they say
    otherwise. `served` is the directory that a shipped module, a blueprint or a toolchain works for
    instead of its own, in `served_context`. `has_code` is False for a dagger.json without an SDK.
    `origin` is the git repository that the module was fetched from, if it was; `copied` says that
    the files are those of a directory of the API. With `self_calls` the module's code is served its
    own functions. `edits` are the changes that the API made to what dagger.json says.
    """

    name: str
    root: Path
    context: Path
    source: str
    include: tuple[str, ...]
    caching: bool
    dependencies: tuple[Dependency, ...] = ()
    toolchains: tuple[Dependency, ...] = ()
    blueprint: Dependency | None = None
    has_code: bool = True
    served: Path | None = None
    served_context: Path | None = None
    origin: GitOrigin | None = None
    copied: bool = False
    engine_version: str = ""
    self_calls: bool = False
    edits: tuple[str, ...] = ()

    @property
    def code(self) -> Path:
        """The directory that holds the module's pyproject.toml."""
        return self.root / self.source

    @property
    def is_shipped(self) -> bool:
        """Whether it is the pipeline that comes with the tool, working for another directory."""
        return self.served is not None and self.root == shipped_pipeline()

    @property
    def is_foreign(self) -> bool:
        """Whether the files are not the caller's own: their links must not lead to the host."""
        return self.origin is not None or self.copied

    @property
    def root_in_context(self) -> str:
        """The root relative to the context; `.` when they are one."""
        return self.root.relative_to(self.context).as_posix()

    def include_patterns(self) -> tuple[str, ...]:
        """What is loaded, relative to the context: dagger.json, source, and includes."""
        prefix = "" if self.root == self.context else self.root_in_context + "/"
        source = (self.root / self.source).relative_to(self.context).as_posix()
        everything = "**" if source == "." else f"{source}/**"
        return (prefix + CONFIG, everything, *(self._rebase(prefix, p) for p in self.include))

    def _rebase(self, prefix: str, pattern: str) -> str:
        bang, path = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
        rebased = posixpath.normpath(prefix + path.lstrip("/"))
        if rebased == ".." or rebased.startswith("../"):
            message = (
                f'include/exclude path "{rebased}" escapes context "{self.context}": '
                f"{self.root / CONFIG} can name files of its git repository only"
            )
            raise ModuleError(message)
        return bang + rebased

    def resolve(self, path: str) -> Path:
        """A contextual path: relative to the root, or from the context if absolute."""
        context = self.served_context or self.served or self.context
        base = context if path.startswith("/") else self.served or self.root
        resolved = Path(normal_path(base / path.lstrip("/")))
        if not resolved.is_relative_to(context):
            message = f'path "{path}" is outside of context directory "{context}"'
            raise ModuleError(message)
        check_inside(
            resolved, self.context if self.is_foreign and not self.served else context, path
        )
        return resolved


def check_inside(path: Path, context: Path, shown: str) -> None:
    """Refuse a path of a repository that links lead out of: a clone may be a stranger's."""
    if not path.resolve().is_relative_to(context.resolve()):
        message = f'path "{shown}" leads out of its repository by a link'
        raise ModuleError(message)


def _check_file(path: Path, context: Path, shown: str) -> None:
    """Refuse a file that lies elsewhere, or that would block who reads it."""
    check_inside(path, context, shown)
    if path.exists() and not path.is_file():
        message = f"{path} is not a regular file"
        raise ModuleError(message)


def find_module(
    reference: str | None, *, workdir: Path, fetch: FetchModule | None = None
) -> ModuleConfig:
    """The module of a local path, or the one that the working directory lies in.

    `fetch` finds the module of a git reference.
    """
    start = workdir
    if reference is not None:
        start = Path(normal_path(workdir / reference))
        if not start.exists():
            where = (
                f'query module objects: loading modules: loading extra module "{reference}": '
                f'resolving module source "{reference}"'
            )
            named = find_named_dependency(workdir, reference)
            if isinstance(named, ModuleConfig):
                return named
            found = parse_reference(named.source if named is not None else reference)
            if found is None or fetch is None:
                message = f'{where}: local path "{reference}" does not exist'
                raise ModuleError(message)
            try:
                return fetch(found, named.pin if named is not None else "")
            except ModuleError as exc:
                message = f"{where}: {exc}"
                raise ModuleError(message) from exc
    root = _find_up(start, CONFIG, DEFINITION)
    if root is None:
        message = (
            f"no {CONFIG} and no {DEFINITION} in {start} or above it: name the module with -m "
            f"PATH, or write a {DEFINITION} with 'layerline init'"
        )
        raise ModuleError(message)
    if not (root / CONFIG).exists():
        return _shipped_for(root)
    if root == shipped_pipeline() and not _is_checkout(root):
        return _shipped_for(_find_up(workdir, DEFINITION) or workdir)
    return read_config(root)


def find_named_dependency(workdir: Path, name: str) -> ModuleConfig | Dependency | None:
    """What the module around a directory calls by a name: a module, or one to be fetched.

    https://github.com/dagger/dagger/blob/v0.21.8/core/schema/modulesource.go (localModuleSource).
    """
    root = _find_up(workdir, CONFIG)
    if root is None:
        return None
    for dependency in read_config(root).dependencies:
        if dependency.name == name:
            place = Path(normal_path(root / dependency.source))
            return read_config(place) if (place / CONFIG).is_file() else dependency
    return None


def shipped_pipeline() -> Path:
    """The pipeline's module inside the tool's package."""
    return Path(layerline.__file__).parent / "pipeline"


def _shipped_for(served: Path) -> ModuleConfig:
    """The shipped pipeline for a directory; a repository around the tool's own place is none."""
    shipped = shipped_pipeline()
    return replace(read_config(shipped), context=shipped.parents[1], served=served)


def _is_checkout(shipped: Path) -> bool:
    """Whether the tool runs from its own repository instead of an installation."""
    return (shipped.parents[2] / ".git").exists() and (shipped.parents[2] / CONFIG).exists()


def read_fetched(repository: Path, origin: GitOrigin) -> ModuleConfig:
    """The module in a fetched repository, whose files are at `repository`."""
    config = _read_foreign(repository, origin.subpath, origin.reference)
    return replace(config, origin=origin)


def read_copied(context: Path, subpath: str) -> ModuleConfig:
    """The module in a copy of a directory of the API."""
    return replace(_read_foreign(context, subpath, "the directory"), copied=True)


def _read_foreign(context: Path, subpath: str, shown: str) -> ModuleConfig:
    root = Path(normal_path(context / subpath))
    for name in (".", CONFIG, *PROJECT_FILES):
        check_inside(root / name, context, name)
    if not (root / CONFIG).is_file():
        message = f"{shown}: no {CONFIG} in {subpath or '.'}"
        raise ModuleError(message)
    config = replace(read_config(root), context=context)
    for name in PROJECT_FILES:
        check_inside(config.code / name, context, name)
    return config


def read_config(root: Path) -> ModuleConfig:
    """The module whose dagger.json is in `root`."""
    _check_file(root / CONFIG, root, CONFIG)
    document = _document(root / CONFIG)
    blueprint = document.get("blueprint")
    has_code = bool(document.get("sdk"))
    if has_code:
        check_sdk(document["sdk"], root)
    source = str(document.get("source") or ".")
    check_source(root, source)
    include = [str(p) for p in document.get("include") or ()]
    exclude = ["!" + str(p) for p in document.get("exclude") or ()]
    context = _find_up(root, ".git") or root
    for name in (".", *PROJECT_FILES[:-1]):
        check = check_inside if name == "." else _check_file
        check(root / source / name, context, f"{source}/{name}")
    return ModuleConfig(
        name=str(document["name"]),
        root=root,
        context=context,
        source=source,
        include=(*include, *exclude),
        caching=caches_functions(document.get("engineVersion"))
        and not document.get("disableDefaultFunctionCaching"),
        dependencies=tuple(_dependencies(document.get("dependencies") or (), root / CONFIG)),
        toolchains=tuple(_dependencies(document.get("toolchains") or (), root / CONFIG)),
        blueprint=next(_dependencies([blueprint] if blueprint else [], root / CONFIG), None),
        has_code=has_code,
        engine_version=str(document.get("engineVersion") or ""),
        self_calls=has_code and _has_feature(document["sdk"], SELF_CALLS),
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        message = f"{path} cannot be read: {reason_of(exc)}"
        raise ModuleError(message) from exc
    if not isinstance(document, dict) or not document.get("name"):
        message = f'{path} names no module: it needs a "name"'
        raise ModuleError(message)
    return document


def _dependencies(items: Iterable[Any], path: Path) -> Iterator[Dependency]:
    for item in items:
        described = {"source": item} if isinstance(item, str) else item
        if not isinstance(described, dict) or not described.get("source"):
            message = f'{path}: a dependency needs a "source": {json.dumps(item)}'
            raise ModuleError(message)
        yield Dependency(
            name=str(described.get("name") or ""),
            source=str(described["source"]),
            pin=str(described.get("pin") or ""),
            ignored={
                role: tuple(map(str, described.get(key) or ())) for role, key in _IGNORED.items()
            },
        )


def caches_functions(version: object) -> bool:
    """Whether modules for this version of the engine have the results of functions cached."""
    return _version(version) >= _FIRST_CACHING


def check_source(root: Path, source: str) -> None:
    """Raise ModuleError for a directory of code that is outside of the module in `root`."""
    if not Path(normal_path(root / source)).is_relative_to(root):
        message = f'{root / CONFIG}: source "{source}" is outside of the module'
        raise ModuleError(message)


def check_sdk(sdk: object, root: Path) -> None:
    """Raise ModuleError for an SDK that the engine does not run."""
    source = sdk.get("source") if isinstance(sdk, dict) else sdk
    if source != "python":
        message = f'{root / CONFIG}: the embedded engine runs only "sdk": "python", not {source!r}'
        raise ModuleError(message)


def _has_feature(sdk: object, name: str) -> bool:
    features = sdk.get("experimental") if isinstance(sdk, dict) else None
    return isinstance(features, dict) and features.get(name) is True


def _version(text: object) -> tuple[int, ...]:
    if not isinstance(text, str):
        return (0,)
    core = text.removeprefix("v").partition("-")[0]
    return tuple(int(part) for part in core.split(".") if part.isdigit())


def is_older(version: str, other: str) -> bool:
    """Whether a version of the engine comes before another one."""
    return _version(version) < _version(other)


def _find_up(start: Path, *names: str) -> Path | None:
    for directory in (start, *start.parents):
        if any((directory / name).exists() for name in names):
            return directory
    return None


def normal_path(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts[1:]:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/" + "/".join(parts)
