"""Where a requirement with a URL (PEP 508) comes from: a git repository, an archive or a wheel.

https://packaging.python.org/en/latest/specifications/version-specifiers/#direct-references
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import dagger
from dagger import dag
from packaging.requirements import Requirement

from layerline.pipeline.requirement import normalize_name

_GIT = "git+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The place of a project; `ref` and `subdirectory` are those of a git repository."""

    name: str
    url: str
    ref: str = ""
    subdirectory: str = ""

    @property
    def is_git(self) -> bool:
        """Whether it is a git repository."""
        return self.url.startswith(_GIT)

    @property
    def is_wheel(self) -> bool:
        """Whether it is a file that is installed as it is."""
        return urlsplit(self.url).path.endswith(".whl")

    def at(self, commit: str) -> str:
        """The URL of one commit of a repository, in the form that pip and uv read."""
        fragment = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        return f"{self.url}@{commit}{fragment}"

    def reference(self, commit: str = "") -> dagger.GitRef:
        """The commit, tag or branch of a repository; the default branch without any."""
        repository = dag.git(self.url.removeprefix(_GIT))
        wanted = commit or self.ref
        return repository.ref(wanted) if wanted else repository.head()

    def files(self, commit: str) -> dagger.Directory:
        """The project at a commit of a repository."""
        tree = self.reference(commit).tree(discard_git_dir=True)
        return tree.directory(self.subdirectory) if self.subdirectory else tree

    def with_history(self, commit: str) -> dagger.Directory:
        """The repository at a commit, with what git knows of it: all commits before, and tags."""
        return self.reference(commit).tree(discard_git_dir=False, depth=0, include_tags=True)


def origin_of(requirement: str) -> Origin | None:
    """The origin of a requirement; None if it is an index."""
    parsed = Requirement(requirement)
    return parse_origin(normalize_name(parsed.name), parsed.url) if parsed.url else None


def parse_origin(name: str, url: str) -> Origin:
    """The origin that a URL names."""
    plain, _, fragment = url.partition("#")
    subdirectory = parse_qs(fragment).get("subdirectory", [""])[0]
    if not plain.startswith(_GIT):
        return Origin(name=name, url=plain, subdirectory=subdirectory)
    path = urlsplit(plain).path
    ref = path.rpartition("@")[2] if "@" in path else ""
    without = plain.removesuffix(f"@{ref}") if ref else plain
    return Origin(name=name, url=without, ref=ref, subdirectory=subdirectory)
