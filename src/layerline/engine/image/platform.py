"""Platforms in the words of the OCI specification (`linux/amd64`, `linux/arm/v7`)."""

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
    """An operating system and a processor; `variant` only where it tells apart (arm/v6, arm/v7)."""

    os: str = "linux"
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]`, with the usual aliases, or one of the two."""
        words = text.lower().split("/")
        if len(words) == 1 and words[0] in _SYSTEMS:
            words.append(os.uname().machine)
        elif len(words) == 1 and _ARCHITECTURES.get(words[0], words[0]) in _KNOWN:
            words.insert(0, "linux")
        if len(words) not in (2, 3) or not all(_WORD.fullmatch(word) for word in words):
            message = f"{text!r} is no platform. Write os/architecture, for example linux/amd64"
            raise QueryError(message)
        return cls.of(words[0], words[1], words[2] if len(words) == 3 else "")

    @classmethod
    def of(cls, system: str, architecture: str, variant: str = "") -> Platform:
        """Normalise what an image or a machine calls itself."""
        name = _ARCHITECTURES.get(architecture, architecture)
        if name == "arm" and not variant:
            variant = "v6" if architecture == "armel" else "v7"
        if (name, variant) in _IMPLIED_VARIANTS:
            variant = ""
        return cls(os=system, architecture=name, variant=variant)

    @classmethod
    def of_host(cls) -> Platform:
        """What this machine runs."""
        return cls.of("linux", os.uname().machine)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))
