"""What .gitignore files leave out of a walk.

Invariant: as git does, a file nearer to the path beats one further up, the last pattern of a file
beats the earlier ones, and nothing below an ignored directory comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.patterns import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from pathspec import GitIgnoreSpec

NAME = ".gitignore"


class GitIgnore:
    """Asks `read` for the .gitignore of a directory, given relative to where the rules begin.

    `above` is the way from there to the root of the walk; empty where they are the same.
    """

    def __init__(self, read: Callable[[str], bytes | None], above: str = "") -> None:
        self._read = read
        self._above = above
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def __call__(self, path: str, *, is_dir: bool) -> Verdict:
        """DROP what is ignored."""
        whole = f"{self._above}/{path}" if self._above else path
        asked = whole + "/" if is_dir else whole
        directory = whole
        while directory:
            directory = directory.rpartition("/")[0]
            spec = self._spec(directory)
            if spec is None:
                continue
            relative = asked[len(directory) + 1 :] if directory else asked
            ignored = spec.check_file(relative).include
            if ignored is not None:
                return Verdict.DROP if ignored else Verdict.KEEP
        return Verdict.KEEP

    def _spec(self, directory: str) -> GitIgnoreSpec | None:
        if directory not in self._specs:
            data = self._read(directory)
            lines = data.decode(errors="surrogateescape").splitlines() if data else []
            self._specs[directory] = _spec_of(lines) if lines else None
        return self._specs[directory]


def _spec_of(lines: list[str]) -> GitIgnoreSpec:
    # Imported only where there is such a file: to import it is a tenth of a warm call.
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)
