"""Dependencies as Poetry and Pipenv write them, in the common form (PEP 508).

The rules of `^` and `~` are those of
https://python-poetry.org/docs/dependency-specification/#version-constraints
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from layerline.cli.scaffold.requirements import project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layerline.cli.scaffold.requirements import Requirements

_SOURCES = ("git", "hg", "svn", "path", "file", "url", "source", "index")


def other_sources(poetry: Mapping[str, Any]) -> dict[str, str]:
    """The projects that Poetry has from elsewhere than the index, with the reason to leave them."""
    tables = [poetry.get("dependencies", {})]
    tables += [each.get("dependencies", {}) for each in poetry.get("group", {}).values()]
    found = {}
    for table in tables:
        for name, values in table.items():
            for value in values if isinstance(values, list) else [values]:
                if source := _source(value):
                    found[project(name)] = f"as its source in tool.poetry is {source}"
    return found


def take_poetry(poetry: Mapping[str, Any], found: Requirements, *, enriches: bool = False) -> None:
    """The dependencies, groups and extras of a `tool.poetry` table.

    Where there is a `project` table, the main dependencies only say more about those of it.
    """
    where = "pyproject.toml, tool.poetry"
    extras = {project(each) for them in poetry.get("extras", {}).values() for each in them}
    main = poetry.get("dependencies", {})
    if "python" in main:
        found.python.append(",".join(specifiers(str(main["python"]))))
    needed = {name: value for name, value in main.items() if project(name) not in extras}
    if needed and not enriches:
        texts = dependencies(needed, found, f"{where}.dependencies")
        found.take("", texts, f"{where}.dependencies")
    for extra, names in poetry.get("extras", {}).items():
        chosen = {name: main[name] for name in names if name in main}
        texts = dependencies(chosen, found, f"{where}.extras.{extra}")
        found.take(extra, texts, f"{where}, the extra {extra!r}")
    groups = {**poetry.get("group", {})}
    if "dev-dependencies" in poetry:
        groups["dev"] = {"dependencies": poetry["dev-dependencies"]}
    for name, table in groups.items():
        texts = dependencies(table.get("dependencies", {}), found, f"{where}.group.{name}")
        found.take(name, texts, f"{where}, the group {name!r}")


def dependencies(table: Mapping[str, Any], found: Requirements, where: str) -> Iterator[str]:
    """The requirements of a table of names and constraints, which may be lists of several."""
    for name, values in table.items():
        if project(name) == "python":
            continue
        for value in values if isinstance(values, list) else [values]:
            source = _source(value)
            if source == "path" and project(name) in found.directories:
                found.import_from(found.directories[project(name)], where)
            elif source == "git" and (url := git_url(value)):
                extras = ",".join(value.get("extras", []))
                markers = " and ".join(f"({each})" for each in _markers(value))
                ending = f" ; {markers}" if markers else ""
                yield f"{name}{f'[{extras}]' if extras else ''} @ {url}{ending}"
            elif source:
                reason = f"as its source is {source} = {value[source]!r}"
                found.leave(where, name, reason)
            else:
                yield requirement(name, value)


def _source(value: object) -> str:
    """The key that says where a dependency comes from, if it is not the default index."""
    return next((key for key in _SOURCES if isinstance(value, dict) and key in value), "")


def git_url(table: Mapping[str, Any]) -> str:
    """The URL of a repository at a reference, as in requirements; empty if it has credentials."""
    url = re.sub(r"^(?:ssh://)?(git@[^:/]+)[:/]", r"ssh://\1/", str(table["git"]))
    parts = urlsplit(url)
    known = parts.scheme in ("https", "http", "ssh")
    if not known or parts.password or (parts.username and parts.scheme != "ssh"):
        return ""
    reference = next((str(table[key]) for key in ("rev", "tag", "branch") if key in table), "")
    subdirectory = table.get("subdirectory", "")
    return (
        f"git+{url}{f'@{reference}' if reference else ''}"
        f"{f'#subdirectory={subdirectory}' if subdirectory else ''}"
    )


def requirement(name: str, value: str | Mapping[str, Any]) -> str:
    """One dependency in the common form."""
    table: Mapping[str, Any] = {"version": value} if isinstance(value, str) else value
    extras = table.get("extras", [])
    full = f"{name}[{','.join(extras)}]" if extras else name
    text = full + ",".join(specifiers(str(table.get("version", "*"))))
    markers = [f"({each})" for each in _markers(table)]
    return f"{text} ; {' and '.join(markers)}" if markers else text


def specifiers(constraint: str) -> list[str]:
    """The version specifiers of a constraint; none for any version."""
    return [text for part in constraint.split(",") for text in _specifiers(part.strip())]


def _specifiers(part: str) -> list[str]:
    if part in ("*", ""):
        return []
    if part.startswith("^"):
        return [f">={part[1:].strip()}", f"<{_next(part[1:], caret=True)}"]
    if part.startswith("~") and not part.startswith("~="):
        return [f">={part[1:].strip()}", f"<{_next(part[1:], caret=False)}"]
    return [f"=={part}"] if part[0].isdigit() else [part.replace(" ", "")]


def _next(version: str, *, caret: bool) -> str:
    """The first version that is kept out: a caret keeps the first part that is not zero."""
    parts = [int(part) for part in re.findall(r"\d+", version.split("+")[0])] or [0]
    if caret:
        place = next((index for index, part in enumerate(parts) if part), len(parts) - 1)
    else:
        place = min(1, len(parts) - 1)
    return ".".join(str(part) for part in [*parts[:place], parts[place] + 1])


def _markers(table: Mapping[str, Any]) -> Iterator[str]:
    if "markers" in table:
        yield str(table["markers"])
    if "python" in table:
        yield " and ".join(
            f"python_version {operator} {version!r}".replace("'", '"')
            for text in specifiers(str(table["python"]))
            for operator, version in re.findall(r"([<>=!~]+)(.*)", text)
        )
    if "platform" in table:
        yield f'sys_platform == "{table["platform"]}"'
