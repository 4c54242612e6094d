"""Prints licences of Debian packages, and bills of materials that wheels carry, as JSON.

Licences are the short names in machine-readable copyright files, which slim images keep
(https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/). What wheels carry is in
`.dist-info/sboms/` (PEP 770).
"""

import hashlib
import importlib.metadata
import json
import pathlib
import re
import sys
from importlib.metadata import Distribution
from typing import Any

DOCS = pathlib.Path("/usr/share/doc")
FORMAT = "copyright-format/1.0"
LICENCE = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE)
LARGEST = 8 << 20


def licences(copyright_file: pathlib.Path) -> list[str]:
    """The names in a copyright file; nothing of one that is prose."""
    try:
        text = copyright_file.read_text(errors="replace")
    except OSError:
        return []
    if FORMAT not in text[:1000]:
        return []
    return sorted({found.strip() for found in LICENCE.findall(text)})


def carried(distribution: Distribution) -> list[dict[str, Any]]:
    """The bills of materials of a wheel, with digests; components where it is CycloneDX."""
    found: list[dict[str, Any]] = []
    for each in distribution.files or ():
        if each.parent.name != "sboms" or not each.parent.parent.name.endswith(".dist-info"):
            continue
        path = pathlib.Path(str(each.locate()))
        if not path.is_file() or path.stat().st_size > LARGEST:
            continue
        data = path.read_bytes()
        found.append(
            {
                "name": str(each),
                "sha1": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "components": components(data),
            }
        )
    return found


def components(data: bytes) -> list[dict[str, str]]:
    """Name, version and package URL of what a CycloneDX document lists."""
    try:
        listed = json.loads(data).get("components", [])
    except (ValueError, AttributeError):
        return []
    return [
        {name: str(each[name]) for name in ("name", "version", "purl")}
        for each in listed
        if isinstance(each, dict) and each.keys() >= {"name", "version", "purl"}
    ]


if __name__ == "__main__":
    documents = {
        each.metadata["Name"]: sboms
        for each in importlib.metadata.distributions()
        if (sboms := carried(each))
    }
    named = {
        place.parent.name: names
        for place in sorted(DOCS.glob("*/copyright"))
        if (names := licences(place))
    }
    json.dump({"licences": named, "documents": documents}, sys.stdout)
