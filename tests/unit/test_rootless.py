"""What a machine has to permit, as the doctor advises it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from layerline.rootless import apparmor_profile

# The parts of apparmor.d(5) of AppArmor 4.0 (Ubuntu 24.04) that a profile for user namespaces has:
# https://manpages.ubuntu.com/manpages/noble/en/man5/apparmor.d.5.html
MAGIC_PATH = r"<[\w/.]+>"
FILEGLOB = r'(?:"/(?:[^"\\]|\\.)+"|/(?:[^\s"\\]|\\.)+)'
PREAMBLE = rf"abi {MAGIC_PATH},\ninclude {MAGIC_PATH}\n"
RULES = rf"(?:  userns,\n|  include if exists {MAGIC_PATH}\n)+"
PROFILE = rf"profile (?P<name>\w+) (?P<place>{FILEGLOB}) flags=\(unconfined\) {{\n{RULES}}}\n"


@pytest.mark.parametrize(
    ("interpreter", "attachment"),
    [
        ("/usr/bin/python3.12", "/usr/bin/python3.12"),
        ("/home/me/my code/.venv/bin/python", '"/home/me/my code/.venv/bin/python"'),
        ("/opt/a{b}/py[3]*?^", r"/opt/a\{b\}/py\[3\]\*\?\^"),
    ],
)
def test_the_profile_of_apparmor_is_one(interpreter: str, attachment: str) -> None:
    text = apparmor_profile(Path(interpreter))
    found = re.fullmatch(PREAMBLE + PROFILE, text)
    assert found, text
    assert (found["name"], found["place"]) == ("layerline", attachment)
