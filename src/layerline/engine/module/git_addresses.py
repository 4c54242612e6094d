"""Which texts name a git repository, and what they name in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_GIT = re.compile(r"(https?|ssh|git)://|git@[\w.-]+:|(github\.com|gitlab\.com|bitbucket\.org)/")
_SCHEME = re.compile(r"(?:https?|ssh|git)://")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:")
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+(?::\d+)?/")
_TWO_PARTS = ("github.com", "bitbucket.org")
_SHORTEST = 2  # an owner and a name


def is_git(text: str) -> bool:
    """Whether an address is that of a git repository rather than a path of this machine."""
    return _GIT.match(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitReference:
    """A reference taken apart: `remote` up to the path, the path's parts, and the version."""

    text: str
    remote: str
    parts: tuple[str, ...]
    version: str

    def candidates(self) -> Iterator[tuple[str, str]]:
        """Where the repository may end and the subdirectory begin, likely ones first."""
        marked = next((n for n, part in enumerate(self.parts, 1) if part.endswith(".git")), None)
        host = self.remote.rpartition("@")[2].partition("://")[2] or self.remote
        if marked is not None:
            lengths = [marked]
        elif host.strip("/:").endswith(_TWO_PARTS) or len(self.parts) <= _SHORTEST:
            lengths = [min(_SHORTEST, len(self.parts))]
        else:
            lengths = list(range(_SHORTEST, len(self.parts) + 1))
        for length in lengths:
            yield self.remote + "/".join(self.parts[:length]), "/".join(self.parts[length:])


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOrigin:
    """Where a module was fetched from: repository, subdirectory, version as written, commit."""

    reference: str
    repository: str
    subpath: str
    version: str
    commit: str


def parse_reference(text: str) -> GitReference | None:
    """A reference such as `github.com/owner/name/sub@v1.0`; None for what is a local path.

    As Dagger has it: a version follows the first `@` of the path.
    """
    plain = text.removeprefix("git+")
    if match := _SCHEME.match(plain):
        head = match[0]
        host, _, path = plain[match.end() :].partition("/")
        remote = f"{head}{host}/"
    elif match := _SCP.match(plain):
        remote, path = match[0], plain[match.end() :]
    elif match := _HOST.match(plain):
        remote, path = f"https://{match[0]}", plain[match.end() :]
    else:
        return None
    path, _, version = path.partition("@")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts or ".." in parts:
        return None
    return GitReference(text=text, remote=remote, parts=parts, version=version)
