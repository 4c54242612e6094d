"""Platforms as the OCI specification names them (`linux/amd64`, `linux/arm/v7`)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from layerline.errors import QueryError

_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i686": "386",
    "armhf": "arm",
    "armv7l": "arm",
    "armel": "arm",
}
_IMPLIED_VARIANTS = {("arm64", "v8"), ("amd64", "v1")}
_SYSTEMS = ("linux", "windows", "darwin", "freebsd")
_KNOWN = ("amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "loong64", "mips64le")
_WORD = re.compile(r"[a-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An operating system and an architecture; `variant` only where needed (arm/v6, arm/v7)."""

    os: str = "linux"
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]`, with the usual aliases, or one of the two."""
        parts = text.lower().split("/")
        if len(parts) == 1 and parts[0] in _SYSTEMS:
            parts.append(os.uname().machine)
        elif len(parts) == 1 and _ARCHITECTURES.get(parts[0], parts[0]) in _KNOWN:
            parts.insert(0, "linux")
        if len(parts) not in (2, 3) or not all(_WORD.fullmatch(part) for part in parts):
            message = f"invalid platform {text!r}: use os/architecture, e.g. linux/amd64"
            raise QueryError(message)
        return cls.of(parts[0], parts[1], parts[2] if len(parts) == 3 else "")

    @classmethod
    def of(cls, system: str, architecture: str, variant: str = "") -> Platform:
        """Normalise the names that an image or `uname` uses."""
        name = _ARCHITECTURES.get(architecture, architecture)
        if name == "arm" and not variant:
            variant = "v6" if architecture == "armel" else "v7"
        if (name, variant) in _IMPLIED_VARIANTS:
            variant = ""
        return cls(os=system, architecture=name, variant=variant)

    @classmethod
    def of_host(cls) -> Platform:
        """The platform of this machine."""
        return cls.of("linux", os.uname().machine)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))
