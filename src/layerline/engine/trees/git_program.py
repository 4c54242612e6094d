"""Runs git with the engine's own settings and without prompts.

Invariant: neither the user's configuration nor a parent directory affects git here.
"""

from __future__ import annotations

import contextlib
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.rmtree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layerline.engine.store.store import Store

_DATE = f"{EPOCH} +0000"


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    expect: Sequence[int] | None = (0,),
) -> command.Finished:
    """Run git in a directory and return what it wrote."""
    git = command.require("git")
    own = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(files("layerline.resources") / "gitconfig"),
        "GIT_CEILING_DIRECTORIES": str(cwd.parent),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_AUTHOR_DATE": _DATE,
        "GIT_COMMITTER_DATE": _DATE,
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
    }
    return command.run(
        [git, *argv], cwd=cwd, env={**own, **(env or {})}, stdin=stdin, expect=expect
    )


@contextlib.contextmanager
def workspace(store: Store) -> Iterator[Path]:
    """Yield an empty temporary directory on the store's file system."""
    place = Path(tempfile.mkdtemp(prefix="git-", dir=store.scratch))
    try:
        yield place
    finally:
        remove_tree(place)
