"""The gallery as one page, to be read from top to bottom: `python -m tests.mistakes.page`."""

from __future__ import annotations

import sys
from itertools import groupby

from tests.mistakes.mistake import Mistake, read_mistakes


def page() -> str:
    """Each mistake with the files that it is about, the command, and what is shown."""
    parts = []
    for subject, found in groupby(read_mistakes(), key=lambda each: each.subject):
        parts.append(f"# {subject}\n")
        parts += map(_entry, found)
    return "\n".join(parts)


def _entry(mistake: Mistake) -> str:
    given = [f"$ cat {path}\n{text.rstrip()}" for path, text in mistake.files.items() if text]
    variables = "".join(f"{name}={text} " for name, text in mistake.environ.items())
    command = f"$ {variables}layerline {mistake.argv}"
    if mistake.stdin:
        command += f" <<< '{mistake.stdin}'"
    ended = f"[exit {mistake.exit}]"
    where = f" ({mistake.situation})" if mistake.situation else ""
    return "\n".join((f"## {mistake.name}{where}\n", *given, command, mistake.message, ended, ""))


if __name__ == "__main__":
    sys.stdout.write(page())
