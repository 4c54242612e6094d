"""The build context as docker would send it: sizes, largest parts, suspicious names.

Invariant: a path is kept or not exactly as docker decides. The two builders differ in one thing:
the classic one never looks into an excluded directory for an exception that begins with a wildcard.
"""

from __future__ import annotations

import heapq
import os
import posixpath
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.patterns import Matcher, Pattern, parse_ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_TOP = 10
_FOLDER_DEPTH = 3
_WILD = re.compile(r"[*?\[\]\\^]")


@dataclass(frozen=True)
class IgnoreFile:
    """An ignore file as it stands; `path` need not be there."""

    path: Path
    data: bytes | None

    @classmethod
    def of(cls, root: Path, dockerfile: str = "Dockerfile") -> IgnoreFile:
        """The file that the builder reads for a Dockerfile: its own one, or else the common."""
        common = [".dockerignore"]
        if posixpath.basename(dockerfile).startswith("Containerfile"):
            common.insert(0, ".containerignore")
        for name in (f"{dockerfile}.dockerignore", *common):
            if (root / name).is_file():
                return cls(root / name, (root / name).read_bytes())
        return cls(root / common[0], None)

    @property
    def patterns(self) -> list[str]:
        """Its patterns, cleaned."""
        return parse_ignore((self.data or b"").decode("utf-8", "surrogateescape"))


class Excluded:
    """Says which paths the patterns exclude, quickly: most are compared with few patterns."""

    def __init__(self, patterns: Sequence[str], *, classic: bool = False) -> None:
        self._patterns = Matcher(patterns).patterns
        self._by_name: dict[str, list[int]] = {}
        self._by_suffix: dict[str, list[int]] = {}
        self._others: list[int] = []
        for number, pattern in enumerate(self._patterns):
            self._sort(number, pattern)
        others = (self._patterns[number].regex for number in self._others)
        self._any_other = re.compile(
            "|".join(f"(?:{each.pattern})" for each in others if each), re.ASCII
        )
        kept = [pattern for pattern in self._patterns if pattern.negated]
        self._exceptions = tuple(pattern.text + "/" for pattern in kept)
        anywhere = any(_WILD.search(pattern.stem) for pattern in kept)
        self._look_everywhere = anywhere and not classic

    def match(self, path: str, name: str, inherited: int) -> tuple[bool, int]:
        """Whether the path is excluded, and a bit for each pattern that applies below it."""
        numbers = set(self._by_name.get(name, ()))
        dot = name.rfind(".")
        if dot >= 0:
            numbers.update(self._by_suffix.get(name[dot:], ()))
        if self._others and self._any_other.fullmatch(path):
            numbers.update(self._others)
        if not numbers and not inherited:
            return False, 0
        number, rest = 0, inherited
        while rest:
            if rest & 1:
                numbers.add(number)
            number, rest = number + 1, rest >> 1
        matched, bits = False, 0
        for number in sorted(numbers):
            pattern = self._patterns[number]
            if inherited >> number & 1 or (pattern.negated == matched and pattern.matches(path)):
                bits |= 1 << number
                matched = not pattern.negated
        return matched, bits

    def may_keep_below(self, path: str) -> bool:
        """Whether an exception may include something below an excluded directory."""
        if self._look_everywhere:
            return True
        return any(text.startswith(path + "/") for text in self._exceptions)

    def excludes(self, path: str) -> bool:
        """Whether a path is excluded, itself or by a directory above it."""
        inherited, matched = 0, False
        above = ""
        for name in path.split("/"):
            above = posixpath.join(above, name)
            matched, inherited = self.match(above, name, inherited)
        return matched

    def _sort(self, number: int, pattern: Pattern) -> None:
        last = pattern.text.rpartition("/")[2]
        plain = not re.search(r"[\[\]\\^]", pattern.text)
        if plain and not _WILD.search(last):
            self._by_name.setdefault(last, []).append(number)
        elif plain and re.fullmatch(r".*\.[^*?.]+", last):
            self._by_suffix.setdefault(last[last.rfind(".") :], []).append(number)
        else:
            self._others.append(number)


@dataclass(frozen=True)
class Part:
    """A file or folder of the context; `size` is in bytes, for a folder of all that is in it."""

    path: str
    size: int
    files: int = 1


@dataclass
class BuildContext:
    """A measured build context. `secrets` are the paths of files that look like secrets."""

    root: Path
    files: int = 0
    size: int = 0
    unreadable: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    _least: int = 0
    _largest: list[tuple[int, str]] = field(default_factory=list)
    _folders: dict[str, list[int]] = field(default_factory=dict)

    @property
    def largest(self) -> list[Part]:
        """The largest files, largest first."""
        return [Part(path, size) for size, path in sorted(self._largest, reverse=True)]

    @property
    def folders(self) -> list[Part]:
        """The largest folders, largest first."""
        parts = [Part(path, size, files) for path, (size, files) in self._folders.items()]
        parts.sort(key=lambda part: (-part.size, part.path))
        return parts[:_TOP]

    def add(self, folder: str, entries: Sequence[os.DirEntry[str]]) -> None:
        """Count the files of a folder; a link counts as nothing, whatever it names."""
        size = files = 0
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            bytes_ = info.st_size if stat.S_ISREG(info.st_mode) else 0
            size += bytes_
            files += 1
            if bytes_ > self._least:
                self._enter(bytes_, f"{folder}/{entry.name}" if folder else entry.name)
        self.size += size
        self.files += files
        names = folder.split("/")[:_FOLDER_DEPTH] if folder else []
        for length in range(len(names)):
            counted = self._folders.setdefault("/".join(names[: length + 1]), [0, 0])
            counted[0] += size
            counted[1] += files

    def _enter(self, size: int, path: str) -> None:
        heapq.heappush(self._largest, (size, path))
        if len(self._largest) > _TOP:
            heapq.heappop(self._largest)
            self._least = self._largest[0][0]


def walk_context(
    root: Path, excluded: Excluded, unreadable: Callable[[str], None]
) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Each folder that is looked into, with what is sent of its entries; above before below."""
    waiting = [("", 0)]
    while waiting:
        above, inherited = waiting.pop()
        try:
            listing = list(os.scandir(root / above))
        except OSError:
            unreadable(above)
            continue
        kept = []
        for entry in listing:
            path = f"{above}/{entry.name}" if above else entry.name
            matched, bits = excluded.match(path, entry.name, inherited)
            if not matched:
                kept.append(entry)
            if entry.is_dir(follow_symlinks=False) and (
                not matched or excluded.may_keep_below(path)
            ):
                waiting.append((path, bits))
        yield above, kept


def measure_context(
    root: Path,
    excluded: Excluded,
    *,
    is_secret: Callable[[str], bool],
    on_progress: Callable[[str], None] = lambda _: None,
) -> BuildContext:
    """Walk the context once; files that vanish meanwhile are not counted."""
    found = BuildContext(root=root)
    for folder, entries in walk_context(root, excluded, found.unreadable.append):
        files = [entry for entry in entries if not entry.is_dir(follow_symlinks=False)]
        found.add(folder, files)
        found.secrets += [
            f"{folder}/{entry.name}" if folder else entry.name
            for entry in files
            if is_secret(entry.name)
        ]
        on_progress(f"{found.files} files of the build context counted")
    return found
