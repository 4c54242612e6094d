"""Which texts name a git repository."""

from __future__ import annotations

import re

_GIT = re.compile(r"(https?|ssh|git)://|git@[\w.-]+:|(github\.com|gitlab\.com|bitbucket\.org)/")


def is_git(text: str) -> bool:
    """Whether an address is that of a git repository rather than a path of this machine."""
    return _GIT.match(text) is not None
