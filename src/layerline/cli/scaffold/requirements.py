"""Requirements that a repository declares, by extra, group or file.

Invariant: what cannot be taken is left out and said, never changed in silence; what comes from a
path, a repository or an index of its own never becomes a name of the public index, where somebody
else may have registered it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALIEN = "as it is not from an index: give a URL of https or git+https without credentials"
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_TOOLS = re.compile(r"(dev|docs?|lint|tests?|testing|typing|type|build)([-_].*)?")
# Of Python's own packages these are the ones that people list.
_NO_PACKAGES = {"python", "pip", "setuptools", "wheel"}


@dataclass(slots=True)
class Requirements:
    """Requirements by extra, group or file, "" being the main ones; `notes` say where from.

    `left` is what could not be taken, with the reason. `own` are the projects of the repository
    itself and those with a source other than the index, `urls` the repositories of some of these,
    `directories` those of them that lie in the
    repository, and `imports` the directories of these that are required. `python` are version
    specifiers.
    """

    by_name: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    project: str = ""
    own: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    directories: dict[str, str] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)
    python: list[str] = field(default_factory=list)
    cuda: str = ""
    packages: list[str] = field(default_factory=list)

    def take(self, name: str, texts: Iterable[str], where: str) -> None:
        """Add requirements; those for developing the project are left out."""
        texts = list(texts)
        if name and _TOOLS.fullmatch(name.lower()):
            self.notes.append(f"{where}: left out, as it develops the project and does not run it")
            return
        texts = [self._with_url(text) for text in texts]
        kept = [text for text in texts if self._is_from_index(text, where)]
        known = self.by_name.setdefault(name, [])
        main = self.by_name.get("", [])
        known += [text for text in dict.fromkeys(kept) if text not in known and text not in main]
        self.notes.append(f"{where}: {len(kept)} requirements")

    def import_from(self, directory: str, where: str) -> None:
        """Take a project of the repository from its directory, and what it requires."""
        if directory not in self.imports:
            self.imports.append(directory)
            self.notes.append(f"{where}: {directory} is a project of the repository")

    def leave(self, where: str, what: str, reason: str) -> None:
        """Say what is not taken, without credentials."""
        text = _CREDENTIALS.sub("//", f"{where}: {what!r} left out, {reason}")
        if text not in self.left:
            self.left.append(text)

    def leave_index(self, where: str, name: str) -> None:
        """Say that an index is not taken; its address may hold credentials."""
        shown = f"the index {name}".strip()
        self.left.append(f"{where}: {shown} left out; give indexes as flags when locking")

    def _with_url(self, text: str) -> str:
        """A requirement with the URL of the repository that it is to come from."""
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return text
        url = self.urls.get(canonicalize_name(requirement.name))
        if url is None or requirement.url is not None:
            return text
        requirement.url, requirement.specifier = url, SpecifierSet()
        return str(requirement)

    def _is_from_index(self, text: str, where: str) -> bool:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            self.leave(where, text, "as it is not from an index")
            return False
        name = canonicalize_name(requirement.name)
        if name == self.project or name in _NO_PACKAGES:
            return False
        if requirement.url is not None:
            taken = _is_taken(requirement.url)
            if not taken:
                self.leave(where, text, _ALIEN)
            return taken
        if name in self.directories:
            self.import_from(self.directories[name], where)
            return False
        if name in self.own:
            self.leave(where, text, self.own[name])
            return False
        return True


def _is_taken(url: str) -> bool:
    """Whether a requirement may have a URL: of a repository or a file, without credentials."""
    parts = urlsplit(url)
    is_git = parts.scheme in ("git+https", "git+http", "git+ssh")
    named = parts.password or (parts.username and parts.scheme != "git+ssh")
    is_file = parts.scheme in ("https", "http") and "subdirectory=" not in parts.fragment
    return not named and (is_git or is_file)


def project(requirement: str) -> str:
    """The normalised project name of a requirement (PEP 503)."""
    return canonicalize_name(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])
