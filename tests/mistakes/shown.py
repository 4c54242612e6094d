"""What a user was shown, with what varies from run to run put into one form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRESS = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} \d+\s+: .*\n", re.MULTILINE)
_VARYING = (
    (re.compile(r"^Full log: .*/logs/\S+\.log\n?", re.MULTILINE), ""),
    (re.compile(r"127\.0\.0\.1:\d{4,5}"), "127.0.0.1:PORT"),
    (re.compile(r"(?<=pid )\d+|(?<=process )\d+"), "N"),
    (re.compile(r"\d+(\.\d+)? [kMG]?B\b"), "N MB"),
    (re.compile(r"sha256:[0-9a-f]{12,64}"), "sha256:DIGEST"),
    (re.compile(r"xxh3:[0-9a-f]{16}"), "xxh3:DIGEST"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a command ended. `log` is all of standard error, `message` what follows the progress."""

    status: int
    stdout: str
    log: str
    message: str

    @classmethod
    def of(cls, status: int, stdout: bytes, stderr: bytes, places: Mapping[str, str]) -> Shown:
        """The outcome of a command; `places` are the directories of this run, by their names."""
        log = stderr.decode(errors="replace")
        return cls(
            status=status,
            stdout=stdout.decode(errors="replace"),
            log=log,
            message=normalize(log, places),
        )


def normalize(text: str, places: Mapping[str, str]) -> str:
    """A text without progress, with directories by their names and other values by their kinds."""
    text = _PROGRESS.sub("", text)
    for name, place in sorted(places.items(), key=lambda each: -len(each[1])):
        text = text.replace(place, f"/{name}")
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
