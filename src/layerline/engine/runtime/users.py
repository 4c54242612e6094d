"""Who a container's process is: `user[:group]` looked up in the container's passwd and group.

Invariant: text that is neither a plain decimal number in range nor a name that is listed is an
error; nothing unusual ever becomes user 0.

`trees/users.py` reads the same files by other rules, those of `chown` in the API: there the group
of a user is its number, and a name never brings memberships.
"""

from __future__ import annotations

from dataclasses import dataclass

from layerline.errors import UnknownUser

_HIGHEST = 2**31 - 1
_PASSWD_FIELDS, _GROUP_FIELDS = 7, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The numbers to run with, and the home directory."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(name: str, *, passwd: str, group: str) -> User:
    """Look up `user[:group]`, each a name or a number; the empty name is user 0.

    A group that is named replaces all others, as `docker run --user` does it.
    """
    user_part, _, group_part = name.partition(":")
    found = _user(user_part or "0", passwd, group)
    if not group_part:
        return found
    return User(uid=found.uid, gid=_gid(group_part, group), home=found.home)


def _user(name: str, passwd: str, group: str) -> User:
    number = _number(name)
    for row in _rows(passwd, _PASSWD_FIELDS):
        if row[0] == name or (number is not None and _number(row[2]) == number):
            uid, gid = _number(row[2]), _number(row[3])
            if uid is None or gid is None:
                continue
            extra = _memberships(row[0], group)
            return User(uid=uid, gid=gid, groups=extra, home=row[5] or "/")
    if number is None:
        message = f"unable to find user {name}: no matching entries in passwd file"
        raise UnknownUser(message)
    return User(uid=number, gid=0)


def _gid(name: str, group: str) -> int:
    number = _number(name)
    for row in _rows(group, _GROUP_FIELDS):
        gid = _number(row[2])
        if gid is not None and (row[0] == name or gid == number):
            return gid
    if number is None:
        message = f"unable to find group {name}: no matching entries in group file"
        raise UnknownUser(message)
    return number


def _memberships(user: str, group: str) -> tuple[int, ...]:
    gids = [
        gid
        for row in _rows(group, _GROUP_FIELDS)
        if user in row[3].split(",") and (gid := _number(row[2])) is not None
    ]
    return tuple(sorted(set(gids)))


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_HIGHEST))):
        return None
    value = int(text)
    return value if value <= _HIGHEST else None


def _rows(text: str, fields: int) -> list[list[str]]:
    rows = [line.strip().split(":") for line in text.splitlines()]
    return [row for row in rows if len(row) >= fields and row[0] and not row[0].startswith("#")]
