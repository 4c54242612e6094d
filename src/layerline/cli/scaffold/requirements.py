"""The requirements that a repository declares: pyproject.toml and requirements files.

Invariant: what is not understood is left out and reported, never changed in silence.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*\])?\s*([<>=!~;(].*)?")
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_TOOLS = re.compile(r"(dev|docs?|lint|tests?|typing|type|build)([-_].*)?")
_PLAIN_FILE = re.compile(r"requirements(?:[-_.](?P<name>[A-Za-z0-9_-]+))?\.(txt|in)")
# Of Python's own packages these are the ones that people list.
_NO_PACKAGES = {"python", "pip", "setuptools", "wheel"}


@dataclass(slots=True)
class Requirements:
    """Requirements by extra, group or file, "" being the main ones; `notes` say where from."""

    by_name: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    project: str = ""

    def take(self, name: str, texts: Iterable[str], where: str) -> None:
        """Add requirements; those for developing the project are left out."""
        texts = list(texts)
        if name and _TOOLS.fullmatch(name.lower()):
            self.notes.append(f"{where}: left out, as it develops the project and does not run it")
            return
        good = [text for text in texts if _REQUIREMENT.fullmatch(text)]
        for text in texts:
            if text not in good:
                shown = _CREDENTIALS.sub("//", text)
                self.notes.append(f"{where}: {shown!r} left out, as it is not from an index")
        kept = [text for text in good if project(text) not in {*_NO_PACKAGES, self.project}]
        known = self.by_name.setdefault(name, [])
        known += [text for text in kept if text not in known]
        self.notes.append(f"{where}: {len(kept)} requirements")


def project(requirement: str) -> str:
    """The normalised project name of a requirement (PEP 503)."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def find_requirements(home: Path) -> Requirements:
    """All requirements of a repository: of its project, else of its files of requirements."""
    found = Requirements()
    _of_project(home / "pyproject.toml", found)
    if not any(found.by_name.values()):
        _of_files(home, found)
    return found


def _of_project(path: Path, found: Requirements) -> None:
    if not path.is_file():
        return
    try:
        document = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        message = f"{path.name} is not valid TOML: {exc}"
        raise UsageError(message) from exc
    table = document.get("project", {})
    poetry = document.get("tool", {}).get("poetry", {})
    found.project = project(str(table.get("name") or poetry.get("name") or ""))
    if "dependencies" in table:
        found.take("", table["dependencies"], "pyproject.toml, project.dependencies")
    elif "dependencies" in poetry:
        texts = [_of_poetry(*pair) for pair in poetry["dependencies"].items()]
        found.take("", texts, "pyproject.toml, tool.poetry.dependencies")
    for extra, texts in table.get("optional-dependencies", {}).items():
        found.take(extra, texts, f"pyproject.toml, the extra {extra!r}")
    groups = document.get("dependency-groups", {})
    for name in groups:
        texts = list(_of_group(name, groups, found, within=()))
        found.take(name, texts, f"pyproject.toml, the dependency group {name!r}")


def _of_group(
    name: str, groups: Mapping[str, Any], found: Requirements, *, within: tuple[str, ...]
) -> Iterator[str]:
    """The requirements of a dependency group, and of those that it includes."""
    named = {project(each): each for each in groups}
    for entry in groups[name]:
        other = entry.get("include-group") if isinstance(entry, dict) else None
        if isinstance(entry, str):
            yield entry
        elif other is None or (known := named.get(project(str(other)))) is None:
            what = f"pyproject.toml, the dependency group {name!r}"
            found.notes.append(f"{what}: {entry} left out, as it names an unknown group")
        elif known not in within:
            yield from _of_group(known, groups, found, within=(*within, name))


def _of_poetry(name: str, value: str | Mapping[str, Any]) -> str:
    """A requirement of Poetry in the common form."""
    version = value if isinstance(value, str) else str(value.get("version", "*"))
    extras = [] if isinstance(value, str) else value.get("extras", [])
    full = f"{name}[{','.join(extras)}]" if extras else name
    if version.startswith("^"):
        return f"{full}>={version[1:]},<{_next_major(version[1:])}"
    if version.startswith("~") and not version.startswith("~="):
        return f"{full}~={version[1:]}"
    if version == "*":
        return full
    return f"{full}=={version}" if version[0].isdigit() else f"{full}{version}"


def _next_major(version: str) -> str:
    """The first version that a caret keeps out: the first part that is not zero counts."""
    parts = [int(part) for part in re.findall(r"\d+", version)]
    place = next((index for index, part in enumerate(parts) if part), len(parts) - 1)
    return ".".join(str(part) for part in [*parts[:place], parts[place] + 1])


def _of_files(home: Path, found: Requirements) -> None:
    for place in (home, home / "requirements"):
        for path in sorted(place.glob("*")):
            name = _name_of(path, alone=place == home)
            if name is not None and path.is_file():
                where = path.relative_to(home).as_posix()
                found.take(name, _lines(path, where, found), where)


def _name_of(path: Path, *, alone: bool) -> str | None:
    """The group that a file is for; None where it holds no requirements."""
    if not alone:
        name = path.stem if path.suffix in (".txt", ".in") else None
        return "" if name in ("base", "main", "requirements") else name
    match = _PLAIN_FILE.fullmatch(path.name)
    if match is None or (path.suffix == ".txt" and path.with_suffix(".in").is_file()):
        return None
    return match["name"] or ""


def _lines(path: Path, where: str, found: Requirements) -> list[str]:
    """The requirements of a file; its options are reported."""
    lines = []
    for line in path.read_text(errors="replace").replace("\\\n", " ").splitlines():
        text = re.split(r"(^|\s)#|\s--hash", line, maxsplit=1)[0].strip()
        if text.startswith(("-r ", "--requirement", "-c ", "--constraint")):
            continue  # the file that it names is found by itself
        if text.startswith("-"):
            option = re.split(r"[\s=]", text, maxsplit=1)[0]
            found.notes.append(f"{where}: {option} left out; give indexes as flags when building")
        elif text:
            lines.append(text)
    return lines
