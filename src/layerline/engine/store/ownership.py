"""Whose store it is: root's, or that of an ordinary user, who is root in a user namespace alone.

The owners of a user's files and the markers in its layers mean nothing to anybody else, and root's
can neither be read nor written by the user. So a user's store records the ids that it was made
with; root's has no such record.
"""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

from layerline.errors import StoreError
from layerline.kernel import in_user_namespace, sync_directory
from layerline.replacement import replacing

OWNER_FILE = "owner"
_MAPS = ("uid_map", "gid_map")

Maps = dict[str, list[list[int]]]


def record_owner(root: Path) -> None:
    """Write into a new store which ids it is made with, if the user is not the machine's root."""
    if (maps := _own_maps()) is not None:
        with replacing(root / OWNER_FILE) as file:
            file.write(json.dumps(maps).encode())
            file.flush()
            os.fsync(file.fileno())
        sync_directory(root)


def recorded_owner(root: Path) -> Maps | None:
    """The ids that a user's store was made with; None for root's, and without a store.

    Raises StoreError where other users may not read it.
    """
    try:
        maps: Maps = json.loads((root / OWNER_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as exc:
        message = (
            f"the store {root} belongs to another user: "
            "run it as that user, or set LAYERLINE_STORE to another directory"
        )
        raise StoreError(message) from exc
    return maps


def require_owner(root: Path, recorded: Maps | None) -> None:
    """Raise StoreError if the store was made by another user, or with other ids."""
    own = _own_maps()
    if own == recorded or (own is None and os.geteuid() != 0):
        return  # a user that has not become root changes nothing
    if own is None:
        assert recorded is not None
        who = f"of {_name(_outside(recorded))}, who builds without root: run it without sudo"
    elif recorded is None:
        who = "of root: run it as root"
    elif _outside(own) != _outside(recorded):
        who = f"of {_name(_outside(recorded))}: run it as that user"
    else:
        who = "made with other subordinate ids: correct /etc/subuid and /etc/subgid"
    message = f"the store {root} is {who}, or set LAYERLINE_STORE to another directory"
    raise StoreError(message)


def _own_maps() -> Maps | None:
    if not in_user_namespace():
        return None
    lines = {name: Path("/proc/self", name).read_text().splitlines() for name in _MAPS}
    return {name: [list(map(int, each.split())) for each in lines[name]] for name in _MAPS}


def _outside(maps: Maps) -> int:
    """The user that is root inside."""
    return next(outside for inside, outside, _ in maps["uid_map"] if inside == 0)


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return f"user {uid}"
