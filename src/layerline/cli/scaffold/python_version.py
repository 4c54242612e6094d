"""The distribution whose Python fits what a repository asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet

if TYPE_CHECKING:
    from collections.abc import Sequence

# The Python of each distribution, the preferred one first: https://packages.debian.org/python3 and
# https://packages.ubuntu.com/python3
DISTRIBUTIONS = {
    "debian:bookworm-slim": "3.11.2",
    "ubuntu:24.04": "3.12.3",
    "debian:trixie-slim": "3.13.5",
    "ubuntu:22.04": "3.10.12",
    "ubuntu:26.04": "3.14.3",
}


def distribution(wanted: Sequence[str]) -> str | None:
    """The first distribution whose Python meets all specifiers; None where none does."""
    limits = [found for text in wanted if (found := specifier_set(text)) is not None]
    for name, version in DISTRIBUTIONS.items():
        if all(limit.contains(version, prereleases=True) for limit in limits):
            return name
    return None


def specifier_set(text: str) -> SpecifierSet | None:
    """The specifiers of a text; None where it is none."""
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None
