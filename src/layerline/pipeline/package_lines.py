"""The lines of a lock at which packages are written down, whichever tool wrote it."""

import re
from collections.abc import Iterable, Iterator, Mapping

from layerline.pipeline.requirement import normalize_name

# `torch[extra]==1.0` and `torch @ URL` of requirements, `name = "torch"` of uv, poetry and PEP 751.
_PYTHON = re.compile(r'^(?:name = ")?([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?(?:==| @ |"$)')
_DEB = re.compile(r"^# (?:extra )?deb: (\S+) ")
Place = tuple[str, int]


def read(path: str, text: str) -> dict[tuple[str, str], Place]:
    """Path and line, first line 1, of each Python package (pypi) and Debian package (deb)."""
    found: dict[tuple[str, str], Place] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if python := _PYTHON.match(line):
            found.setdefault(("pypi", normalize_name(python[1])), (path, number))
        elif deb := _DEB.match(line):
            found.setdefault(("deb", deb[1]), (path, number))
    return found


def of_sources(
    packages: Iterable[Mapping[str, str]], lines: Mapping[tuple[str, str], Place], base: Place
) -> Iterator[tuple[tuple[str, str], Place]]:
    """Yield where each source package is: at one of its packages in the lock, else in the base."""
    found: dict[str, Place] = {}
    for each in packages:
        place = lines.get(("deb", each["name"]))
        if place is not None or each["source"] not in found:
            found[each["source"]] = place or found.get(each["source"], base)
    return ((("deb", source), place) for source, place in found.items())
