"""The command that starts this program again, as a user has to type it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

# The parts of uv's cache that environments of `uvx` are in.
_UV_CACHE = ("archive-v", "environments-v")


def invocation(program: str, environ: Mapping[str, str]) -> str:
    """The program's name, or `uvx --from WHEEL name` where only uvx has it.

    An environment of uvx is on the PATH of the program that runs in it, and of no other.
    """
    own = Path(sys.prefix) / "bin"
    places = environ.get("PATH", "").split(":")
    elsewhere = ":".join(each for each in places if each and Path(each) != own)
    if shutil.which(program, path=elsewhere) or not _is_of_uvx(Path(sys.prefix)):
        return program
    source = _source(program)
    return f"uvx --from {shlex.quote(source)} {program}" if source else f"uvx {program}"


def _is_of_uvx(prefix: Path) -> bool:
    return any(part.startswith(_UV_CACHE) for part in prefix.parts)


def _source(name: str) -> str:
    """Where the package was installed from (PEP 610); empty for an index."""
    try:
        text = distribution(name).read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    url = str(json.loads(text)["url"]) if text else ""
    return unquote(urlsplit(url).path) if url.startswith("file:") else url
