"""The shape of what a command prints: the words and the lines, with free numbers and digests."""

from __future__ import annotations

import re

# What differs from run to run and from machine to machine, and what stands for it.
_FREE = (
    (re.compile(r"sha256:[0-9a-f]+…?|\b[0-9a-f]{12,}\b"), "DIGEST"),
    (re.compile(r"(?<![\w.])/[\w./-]+/"), "DIRECTORY/"),
    (re.compile(r"\d+(\.\d+)? (k|M|G)?B\b"), "SIZE"),
    (re.compile(r"\d+(\.\d+)*"), "N"),
    (re.compile(r" {2,}"), "  "),
)


def shape_of(text: str) -> list[str]:
    """The lines of a text with what is free replaced; empty lines are left out."""
    for pattern, name in _FREE:
        text = pattern.sub(name, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]
