"""A user's home, and where Layerline's settings and store are by default.

Standard library only and Python 3.9, as the doctor uses it too. The places in the home are those of
the XDG Base Directory Specification: https://specifications.freedesktop.org/basedir-spec/latest/.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.errors import LayerlineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def home_directory(environ: Mapping[str, str]) -> Path:
    """The user's home; without HOME the one that the system knows."""
    home = environ.get("HOME")
    if home:
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/")


def settings_file(environ: Mapping[str, str]) -> Path:
    """The file with the user's settings, which need not exist."""
    config = environ.get("XDG_CONFIG_HOME") or home_directory(environ) / ".config"
    return Path(config) / "layerline" / "config.toml"


def store_directory(environ: Mapping[str, str], setting: str | None) -> Path:
    """The absolute path of the store; `setting` is `store` of the settings file.

    Raises UsageError where the path begins with the home of another user.
    """
    home = home_directory(environ)
    variable = environ.get("LAYERLINE_STORE")
    path = variable or setting
    if not path:
        data = environ.get("XDG_DATA_HOME") or home / ".local" / "share"
        return (Path(data) / "layerline").absolute()
    try:
        return Path(expand_home(path, home)).absolute()
    except LayerlineError as exc:
        origin = "LAYERLINE_STORE" if variable else f"store in {settings_file(environ)}"
        message = f"invalid {origin}: {exc}"
        raise UsageError(message) from exc


def expand_home(path: str, home: Path) -> str:
    """The path with a leading `~` replaced by the home of this user.

    Raises LayerlineError for the home of another user (`~other`), as the Dagger engine does.
    """
    if not path.startswith("~"):
        return path
    if path != "~" and not path.startswith("~/"):
        message = f"cannot expand home directory {path!r}: use an absolute path"
        raise LayerlineError(message)
    return f"{home}{path[1:]}"
