"""Users of a container: names, numbers, and text that must never become root."""

from __future__ import annotations

import pytest

from layerline.engine.runtime.users import User, resolve
from layerline.errors import UnknownUser
from tests.unit.runtime.conftest import GROUP, PASSWD


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", User(uid=0, gid=0, home="/root")),
        ("0", User(uid=0, gid=0, home="/root")),
        ("daemon", User(uid=1, gid=1, groups=(29,), home="/usr/sbin")),
        ("1", User(uid=1, gid=1, groups=(29,), home="/usr/sbin")),
        ("daemon:sys", User(uid=1, gid=3, home="/usr/sbin")),
        ("77:sys", User(uid=77, gid=3)),
        ("77:88", User(uid=77, gid=88)),
        ("2147483647", User(uid=2147483647, gid=0)),
    ],
)
def test_users_are_found(name: str, expected: User) -> None:
    assert resolve(name, passwd=PASSWD, group=GROUP) == expected


@pytest.mark.parametrize(
    "name",
    [
        "nope",
        " 0",
        "+0",
        "-1",
        "0x0",
        "\u0660",
        "2147483648",
        "4294967296",
        "4294967296:0",
        "0:nope",
    ],
)
def test_what_is_neither_a_number_nor_listed_is_unknown(name: str) -> None:
    with pytest.raises(UnknownUser, match="unable to find"):
        resolve(name, passwd=PASSWD, group=GROUP)


def test_rows_that_make_no_sense_are_passed_over() -> None:
    passwd = "evil:x:4294967296:0::/:/bin/sh\nshort:x\n#c:x:0:0::/:\n:x:0:0::/:\nok:x:5:6::/h:\n"
    assert resolve("ok", passwd=passwd, group="x\n") == User(uid=5, gid=6, home="/h")
    for name in ("evil", "short", "#c"):
        with pytest.raises(UnknownUser):
            resolve(name, passwd=passwd, group="")


def test_without_files_only_numbers_work() -> None:
    assert resolve("", passwd="", group="") == User(uid=0, gid=0)
    with pytest.raises(UnknownUser):
        resolve("root", passwd="", group="")
