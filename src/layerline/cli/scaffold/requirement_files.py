"""The requirements in requirements*.txt, with the files that `-r` and `-c` name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from layerline.cli.scaffold.requirements import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layerline.cli.scaffold.requirements import Requirements

_PLAIN_FILE = re.compile(r"requirements(?:[-_.](?P<name>[A-Za-z0-9_-]+))?\.(txt|in)")
_FILE_OPTION = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?=\S))(?P<path>.+)")
_INDEX_OPTIONS = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index")


def take_files(home: Path, found: Requirements) -> None:
    """All files of requirements in a directory; what others include is not read twice."""
    included: set[Path] = set()
    by_path = dict(_files(home))
    for path in by_path:
        included |= set(_included(path, within=()))
    main_first = sorted(by_path.items(), key=lambda each: each[1] != "")
    for path, name in main_first:
        if path not in included or name == "":
            take_file(home, path, name, found)


def take_file(home: Path, path: Path, name: str, found: Requirements) -> None:
    """One file and what it includes; constraints are joined to what they constrain."""
    where = path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name
    if not path.is_file():
        found.left.append(f"{where}: does not exist")
        return
    lines = list(_lines(home, path, found, within=()))
    limits = {project(text): text for kind, text in lines if kind == "-c"}
    texts = [_limited(text, limits) for kind, text in lines if kind == ""]
    found.take(name, texts, where)
    used = {project(text) for text in texts}
    for name_, text in limits.items():
        if name_ not in used:
            found.leave(where, text, "as it constrains what is not required by name")


def _limited(text: str, limits: dict[str, str]) -> str:
    """A requirement with the version specifiers of its constraint."""
    limit = limits.get(project(text))
    if limit is None:
        return text
    specifiers = re.sub(r"^[A-Za-z0-9._-]+\s*(\[[^]]*\])?", "", limit).partition(";")[0].strip()
    before, marker, after = text.partition(";")
    has_own = re.search(r"[<>=!~]", before)
    return f"{before.strip()}{',' if has_own else ''}{specifiers}{' ;' if marker else ''}{after}"


def _files(home: Path) -> Iterator[tuple[Path, str]]:
    for place in (home, home / "requirements"):
        for path in sorted(place.glob("*")):
            name = _name_of(path, alone=place == home)
            if name is not None and path.is_file():
                yield path, name


def _name_of(path: Path, *, alone: bool) -> str | None:
    """The group that a file is for; None where it holds no requirements."""
    if not alone:
        name = path.stem if path.suffix in (".txt", ".in") else None
        return "" if name in ("base", "main", "requirements") else name
    match = _PLAIN_FILE.fullmatch(path.name)
    if match is None or (path.suffix == ".txt" and path.with_suffix(".in").is_file()):
        return None
    return match["name"] or ""


def _included(path: Path, *, within: tuple[Path, ...]) -> Iterator[Path]:
    for text in _texts(path):
        if option := _FILE_OPTION.fullmatch(text):
            other = path.parent / option["path"]
            if other not in within and other.is_file():
                yield other
                yield from _included(other, within=(*within, path))


def _lines(
    home: Path, path: Path, found: Requirements, *, within: tuple[Path, ...]
) -> Iterator[tuple[str, str]]:
    """Requirements, and constraints marked with `-c`; options are said."""
    where = path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name
    for text in _texts(path):
        if option := _FILE_OPTION.fullmatch(text):
            other = path.parent / option["path"]
            if not other.is_file():
                found.leave(where, text, "as the file does not exist")
            elif other not in within:
                inner = _lines(home, other, found, within=(*within, path))
                is_constraint = option[1].startswith(("-c", "--c"))
                yield from (("-c" if is_constraint else kind, line) for kind, line in inner)
        elif text.startswith(("-e", "--editable", "./")):
            place = path.parent / re.sub(r"^(-e|--editable)[\s=]*", "", text)
            inside = place.is_dir() and place.resolve().is_relative_to(home.resolve())
            if inside and place.resolve() != home.resolve():
                found.import_from(place.resolve().relative_to(home.resolve()).as_posix(), where)
            elif place.resolve() != home.resolve():
                found.leave(where, text, "as it is not from an index")
        elif text.startswith("-"):
            name = re.split(r"[\s=]", text, maxsplit=1)[0]
            hint = "; give indexes as flags when locking" if name in _INDEX_OPTIONS else ""
            found.left.append(f"{where}: the option {name} left out{hint}")
        else:
            yield "", text


def _texts(path: Path) -> Iterator[str]:
    joined = path.read_text(errors="replace").removeprefix("\ufeff").replace("\\\n", " ")
    for line in joined.splitlines():
        text = re.split(r"(^|\s)#|\s--hash", line, maxsplit=1)[0].strip()
        if text:
            yield text
