"""Recorded calls of the Dagger command line, read back and compared with what `layerline` answers.

Two answers are equal when they are after normalisation: places differ, digests and time stamps
count only by which of them are equal to each other, and the trace marker that Dagger puts behind
its errors is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGEST = re.compile(r"xxh3:[0-9a-f]{16}")
_STAMP = re.compile(r"\b\d{19}\b")
_HOST = re.compile(r"^[0-9a-z]{8,}(?=:8000)")
_TRACE = re.compile(r" \[traceparent:[^\]]*\]")
_WORKDIR = re.compile(r"\[cd ([^\]]+)\] ")
_STDIN = re.compile(r" <<< '(.*)'$", re.DOTALL)
_NO_NEWLINE = "\u23ce\u0338"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A call: the line of the shell, stdout, the lines of the error, and the exit code.

    `workdir` is where it ran, relative to the module; `note` a remark or a shell command that ran
    before it.
    """

    number: int
    line: str
    stdout: str
    errors: tuple[str, ...]
    code: int
    workdir: str = "."
    note: str = ""
    stdin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellCommand:
    """What a shell ran between two calls, and what it printed without the last newlines."""

    number: int
    line: str
    output: str


@dataclass(slots=True)
class Classes:
    """Numbers the digests and stamps in the order in which they first appear."""

    known: dict[str, dict[str, str]] = field(default_factory=dict)

    def apply(self, text: str) -> str:
        """The text with its digests and stamps by their numbers."""
        text = _DIGEST.sub(lambda match: self._name("digest", match[0]), text)
        text = _STAMP.sub(lambda match: self._name("stamp", match[0]), text)
        return _HOST.sub("HOST", text)

    def _name(self, kind: str, found: str) -> str:
        of_kind = self.known.setdefault(kind, {})
        return of_kind.setdefault(found, f"<{kind} {len(of_kind)}>")


def parse_transcript(path: Path) -> Iterator[Recorded]:
    """The calls of a transcript in order; a remark in brackets belongs to the call after it."""
    note = ""
    for number, block in enumerate(re.split(r"^(?=\$ |\()", path.read_text(), flags=re.MULTILINE)):
        if block.startswith("("):
            note += block.strip()
        elif block.startswith("$ "):
            yield _parse_call(number, block, note)
            note = ""


def parse_blocks(path: Path) -> Iterator[Recorded | ShellCommand]:
    """The calls of a transcript and the shell commands between them, in order."""
    for number, block in enumerate(re.split(r"^(?=\$ |\()", path.read_text(), flags=re.MULTILINE)):
        if block.startswith("$ "):
            yield _parse_call(number, block, "")
        elif block.startswith("(") and not block.startswith("(…"):
            line, _, output = block.partition("\n")
            line = line[1:].rstrip().removesuffix(")").removesuffix(" …")
            yield ShellCommand(number=number, line=line, output=output.rstrip("\n"))


def _parse_call(number: int, block: str, note: str) -> Recorded:
    head, _, rest = block.partition("\n-- stdout\n")
    body, _, exit_code = rest.rpartition("-- exit ")
    stdout, separator, stderr = body.partition("-- stderr (last lines)\n")
    if separator:
        lines = stderr.splitlines()
    else:
        lines = [line.removeprefix("! ") for line in stdout.splitlines() if line.startswith("! ")]
        stdout = "".join(
            line for line in stdout.splitlines(keepends=True) if not line.startswith("! ")
        )
    errors = tuple(_TRACE.sub("", line) for line in lines)
    line = head.removeprefix("$ dagger ")
    moved = _WORKDIR.match(line)
    line = line[moved.end() :] if moved else line
    given = _STDIN.search(line)
    return Recorded(
        number=number,
        line=line[: given.start()] if given else line,
        stdin=given[1] if given else "",
        workdir=moved[1] if moved else ".",
        stdout=stdout,
        errors=error_lines(errors),
        code=int(exit_code.split()[0]),
        note=note,
    )


def error_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines from the last `Error:` on; only they are the same on both command lines."""
    starts = [place for place, line in enumerate(lines) if line.startswith("Error: ")]
    return tuple(line for line in lines[starts[-1] :] if line) if starts else ()


def without_trace(text: str) -> str:
    """The text without the marker that Dagger puts behind errors."""
    return _TRACE.sub("", text)


def ends_without_newline(stdout: str) -> str:
    """A recorded stdout as it was: the mark of a missing newline goes with the newline."""
    return stdout.replace(_NO_NEWLINE + "\n", "")
