"""What docker would send as the build context: sizes, the largest parts, names that stand out.

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
_TELL_EVERY = 20_000
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
        kept = [pattern for pattern in self._patterns if pattern.negated]
        self._exceptions = tuple(pattern.text + "/" for pattern in kept)
        anywhere = any(_WILD.search(pattern.stem) for pattern in kept)
        self._look_everywhere = anywhere and not classic

    def match(self, path: str, name: str, inherited: int) -> tuple[bool, int]:
        """Whether the path is excluded, and a bit for each pattern that counts below it."""
        numbers = set(self._others)
        numbers.update(self._by_name.get(name, ()))
        dot = name.rfind(".")
        if dot >= 0:
            numbers.update(self._by_suffix.get(name[dot:], ()))
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
        """Whether an exception may bring back something in an excluded directory."""
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
        elif plain and re.fullmatch(r"\*[^*?]*\.[^*?.]+", last):
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
class Context:
    """What was found. `secrets` are paths of files that look like secrets."""

    root: Path
    files: int = 0
    size: int = 0
    unreadable: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    newest: float = 0.0
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

    def add(self, path: str, info: os.stat_result, folders: list[list[int]]) -> None:
        """Count one file; a link counts as nothing, whatever it names."""
        size = info.st_size if stat.S_ISREG(info.st_mode) else 0
        self.files += 1
        self.size += size
        self.newest = max(self.newest, info.st_mtime)
        for folder in folders:
            folder[0] += size
            folder[1] += 1
        if len(self._largest) < _TOP:
            heapq.heappush(self._largest, (size, path))
        elif size > self._largest[0][0]:
            heapq.heapreplace(self._largest, (size, path))

    def folder(self, path: str) -> list[int]:
        """The counters of a folder: bytes and files."""
        return self._folders.setdefault(path, [0, 0])


def kept_entries(
    root: Path, excluded: Excluded, unreadable: Callable[[str], None]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything that is sent, with its path; a directory comes before what is in it."""
    waiting = [("", 0)]
    while waiting:
        above, inherited = waiting.pop()
        try:
            listing = list(os.scandir(root / above))
        except OSError:
            unreadable(above)
            continue
        for entry in listing:
            path = f"{above}/{entry.name}" if above else entry.name
            matched, bits = excluded.match(path, entry.name, inherited)
            if entry.is_dir(follow_symlinks=False) and (
                not matched or excluded.may_keep_below(path)
            ):
                waiting.append((path, bits))
            if not matched:
                yield path, entry


def survey(
    root: Path,
    excluded: Excluded,
    *,
    secret: re.Pattern[str],
    tell: Callable[[str], None] = lambda _: None,
) -> Context:
    """Walk the context once; files that vanish meanwhile are not counted."""
    found = Context(root=root)
    folders: dict[str, list[list[int]]] = {"": []}
    for path, entry in kept_entries(root, excluded, found.unreadable.append):
        if entry.is_dir(follow_symlinks=False):
            continue
        above = path.rpartition("/")[0]
        if above not in folders:
            folders[above] = _chain(found, above)
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        found.add(path, info, folders[above])
        if secret.fullmatch(entry.name):
            found.secrets.append(path)
        if found.files % _TELL_EVERY == 0:
            tell(f"{found.files} files of the build context counted")
    return found


def _chain(found: Context, folder: str) -> list[list[int]]:
    names = folder.split("/")[:_FOLDER_DEPTH]
    return [found.folder("/".join(names[: length + 1])) for length in range(len(names))]
