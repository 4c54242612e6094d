"""What an ordinary user needs to be root of a user namespace: ids, and a kernel that permits it.

Standard library only and Python 3.9, as the doctor uses it too.
"""

from __future__ import annotations

import pwd
import re
from dataclasses import dataclass
from pathlib import Path

# Images of distributions use ids up to nobody's, 65534; root's is the user's own. A pod of
# Kubernetes with a user namespace has 65,536 ids in all: fewer are left for a user in it.
ENOUGH = 65534
_RANGE = 65536  # what useradd(8) gives
_FIRST_FREE = 100000  # where useradd(8) begins
_SYSCTL = Path("/proc/sys")


@dataclass(frozen=True)
class IdRange:
    """Subordinate ids `first`, `first + 1`, …, `count` of them."""

    first: int
    count: int


@dataclass(frozen=True)
class Hindrance:
    """A setting of the kernel that forbids user namespaces, and the value that allows them."""

    setting: str
    value: str
    allowed: str

    @property
    def text(self) -> str:
        """The setting as sysctl(8) prints it."""
        return f"{self.setting}={self.value}"

    @property
    def command(self) -> str:
        """What lifts it until the next boot."""
        return f"sudo sysctl -w {self.setting}={self.allowed}"


_HINDRANCES = (
    Hindrance("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    Hindrance("kernel.unprivileged_userns_clone", "0", "1"),
    Hindrance("user.max_user_namespaces", "0", "28633"),
)


def user_name(uid: int) -> str:
    """The login name of a user; the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def read_ranges(file: Path, uid: int) -> list[IdRange]:
    """The ranges of a user in /etc/subuid or /etc/subgid (subuid(5))."""
    owners = {user_name(uid), str(uid)}
    return [found for owner, found in _lines(file) if owner in owners]


def command_for_ranges(uid: int, etc: Path) -> str:
    """What gives a user ranges that nobody has yet."""
    found = [each for name in ("subuid", "subgid") for _, each in _lines(etc / name)]
    first = max((each.first + each.count for each in found), default=_FIRST_FREE)
    span = f"{max(first, _FIRST_FREE)}-{max(first, _FIRST_FREE) + _RANGE - 1}"
    return f"sudo usermod --add-subuids {span} --add-subgids {span} {user_name(uid)}"


def find_hindrances(sysctl: Path = _SYSCTL) -> list[Hindrance]:
    """The settings of this kernel that forbid user namespaces to ordinary users."""
    return [each for each in _HINDRANCES if _setting(sysctl, each.setting) == each.value]


def apparmor_profile(interpreter: Path) -> str:
    """The profile with which AppArmor lets programs of this Python create user namespaces.

    In the form of AppArmor's own for programs that need these, e.g. `devhelp`:
    https://gitlab.com/apparmor/apparmor/-/commit/89a9f767
    """
    place = re.sub(r'([\\?*\[\]{}^"])', r"\\\1", str(interpreter))
    if " " in place:
        place = f'"{place}"'
    return (
        "abi <abi/4.0>,\n"
        "include <tunables/global>\n"
        f"profile layerline {place} flags=(unconfined) {{\n"
        "  userns,\n"
        "  include if exists <local/layerline>\n"
        "}\n"
    )


def _setting(sysctl: Path, name: str) -> str:
    try:
        return (sysctl / name.replace(".", "/", 1)).read_text().strip()
    except OSError:
        return ""


def _lines(file: Path) -> list[tuple[str, IdRange]]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return []
    parts = [line.split(":") for line in lines]
    return [
        (owner, IdRange(int(first), int(count)))
        for owner, first, count in (part for part in parts if len(part) == 3)
        if first.isdigit() and count.isdigit() and int(count) > 0
    ]
