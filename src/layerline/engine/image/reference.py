"""Image references as Docker reads them: parsed once at the edge, carried as values afterwards.

Nothing of a parsed reference needs escaping: host, path, tag and digest match closed patterns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from layerline.errors import InvalidReference

DEFAULT_REGISTRY = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
LONGEST_NAME = 255

_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]{1,5})?"
    r"|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?"
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where an image is: `registry/repository`, and a tag, a digest, both or neither."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse a reference; `debian` becomes `docker.io/library/debian`. No tag is added."""
        rest, digest = _cut_digest(text)
        rest, tag = _cut_tag(rest)
        registry, repository = _split_registry(rest)
        if (
            not _HOST.fullmatch(registry)
            or not _PATH.fullmatch(repository)
            or len(registry) + 1 + len(repository) > LONGEST_NAME
            or (tag is not None and not _TAG.fullmatch(tag))
            or (digest is not None and not _DIGEST.fullmatch(digest))
        ):
            raise InvalidReference(_reason_invalid(text, repository))
        return cls(registry=registry, repository=repository, tag=tag, digest=digest)

    def with_default_tag(self) -> Reference:
        """The same reference, with the default tag if it has neither tag nor digest."""
        if self.tag is None and self.digest is None:
            return replace(self, tag=DEFAULT_TAG)
        return self

    def with_digest(self, digest: str) -> Reference:
        """The same reference, pinned to a digest."""
        return replace(self, digest=digest)

    @property
    def name(self) -> str:
        """`registry/repository`."""
        return f"{self.registry}/{self.repository}"

    def canonical(self) -> str:
        """The full text: `registry/repository[:tag][@digest]`."""
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"

    def __str__(self) -> str:
        return self.canonical()


def _cut_digest(text: str) -> tuple[str, str | None]:
    rest, at, digest = text.partition("@")
    return rest, digest if at else None


def _cut_tag(text: str) -> tuple[str, str | None]:
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    return head + slash + name, tag if colon else None


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry == f"index.{DEFAULT_REGISTRY}":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"{DEFAULT_NAMESPACE}/{repository}"
    return registry, repository


def _reason_invalid(text: str, repository: str) -> str:
    if repository != repository.lower() and _PATH.fullmatch(repository.lower()):
        return f"invalid reference format: repository name ({repository}) must be lowercase"
    return (
        f"invalid reference format: {text!r}: "
        "use [registry/]repository[:tag][@sha256:...], e.g. debian:bookworm-slim"
    )
