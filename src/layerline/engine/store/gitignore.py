"""A path filter for .gitignore files.

Invariant: as in git, a file nearer to the path takes precedence, the last matching pattern in a
file wins, and nothing below an ignored directory can be included again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.patterns import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

    from pathspec import GitIgnoreSpec

NAME = ".gitignore"


class GitIgnore:
    """Drops ignored paths. `read` returns the .gitignore of a directory of the repository.

    `above` is the path of the walk's root in the repository; empty where they are the same.
    """

    def __init__(self, read: Callable[[str], bytes | None], above: str = "") -> None:
        self._read = read
        self._above = above
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def __call__(self, path: str, *, is_dir: bool) -> Decision:
        """DROP for a path that is ignored."""
        full = f"{self._above}/{path}" if self._above else path
        subject = full + "/" if is_dir else full
        directory = full
        while directory:
            directory = directory.rpartition("/")[0]
            spec = self._spec(directory)
            if spec is None:
                continue
            relative = subject[len(directory) + 1 :] if directory else subject
            ignored = spec.check_file(relative).include
            if ignored is not None:
                return Decision.DROP if ignored else Decision.KEEP
        return Decision.KEEP

    def _spec(self, directory: str) -> GitIgnoreSpec | None:
        if directory not in self._specs:
            data = self._read(directory)
            lines = data.decode(errors="surrogateescape").splitlines() if data else []
            self._specs[directory] = _spec_of(lines) if lines else None
        return self._specs[directory]


def _spec_of(lines: list[str]) -> GitIgnoreSpec:
    # Imported on demand: the import takes a tenth of a warm call.
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)
