"""Reading a lock, and following who asks for whom."""

from __future__ import annotations

import pytest

from layerline.pipeline import builder_pins
from layerline.pipeline.lock import (
    LockError,
    RecordedWheel,
    closure,
    other_wheel,
    parse,
    requirements,
)

LOCK = """\
jax==0.10.2 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.4.6 \\
    --hash=sha256:cc
    # via jax, torch
Opt_Einsum==3.4.0 \\
    --hash=sha256:dd
    # via jax
torch==2.14.1+cpu \\
    --hash=sha256:ee
"""


def test_a_pin_has_its_version_and_what_requires_it() -> None:
    pins = parse(LOCK)
    assert pins["torch"].version == "2.14.1+cpu"
    assert pins["opt-einsum"].required_by == {"jax"}


def test_requirements_are_the_lines_without_the_comments() -> None:
    pins = parse(LOCK)
    assert requirements([pins["torch"], pins["numpy"]]) == (
        "numpy==2.4.6 \\\n    --hash=sha256:cc\ntorch==2.14.1+cpu \\\n    --hash=sha256:ee\n"
    )


def test_what_is_asked_for_is_followed_until_it_stops() -> None:
    pins = parse(LOCK)
    assert closure(pins, ["jax"]) == {"jax", "numpy", "opt-einsum"}
    assert closure(pins, ["jax"], stop=["jax"]) == {"jax"}


def test_a_requirement_that_is_not_locked_is_named() -> None:
    with pytest.raises(
        LockError,
        match="no entry for ultralytics: regenerate it with 'layerline call",
    ):
        closure(parse(LOCK), ["ultralytics", "jax"])


def test_a_line_that_pins_nothing_is_refused() -> None:
    with pytest.raises(LockError, match=r"'numpy>=2', which is not a pinned version: regenerate"):
        parse("numpy>=2\n")


def test_a_wheel_that_differs_is_the_one_of_the_lock() -> None:
    text = f"# wheel: jax sha256:{'a' * 64}\n{LOCK}"
    assert parse(text)["numpy"].wheel == ""
    pin = parse(text)["jax"]
    assert pin.wheel == "a" * 64
    said = other_wheel(pin, "b" * 64)
    wanted = f"jax==0.10.2 differs from build to build: the lock has the wheel sha256:{'a' * 64}, "
    assert said.startswith(wanted)
    assert said.endswith("lock again with --upgrade=jax")


def test_a_wheel_of_another_commit_is_not_the_one_of_the_lock() -> None:
    """In another tool's lock a commit moves under the same version, and the record stays."""
    record = f"# version: one 1.0\n# wheel: one sha256:{'a' * 64} from {'1' * 40}\n"
    url = "git+https://host.example/one"
    assert parse(f"{record}one @ {url}@{'1' * 40}\n")["one"].wheel == "a" * 64
    assert parse(f"{record}one @ {url}@{'2' * 40}\n")["one"].wheel == ""
    [archive] = parse("two==1.0 \\\n    --hash=sha256:bb\n").values()
    wheel = RecordedWheel(digest="b" * 64, source=archive.source)
    [again] = parse(wheel.line("two") + "two==1.0 \\\n    --hash=sha256:bb\n").values()
    [other] = parse(wheel.line("two") + "two==1.0 \\\n    --hash=sha256:cc\n").values()
    assert (again.wheel, other.wheel) == ("b" * 64, "")


def test_what_builds_is_in_comments_and_read_back() -> None:
    one = "setuptools==80 \\\n    --hash=sha256:aa\n"
    text = builder_pins.render({"b": "", "a": one}, {"libs/x, y": one, ".": ""})
    assert text == (
        "# builds a:\n# builds project libs/x, y:\n"
        "#     setuptools==80 \\\n#         --hash=sha256:aa\n"
        "# builds b:\n# builds project .:\n"
    )
    found = builder_pins.parse(text + LOCK)
    assert {name: requirements(pins) for name, pins in found.packages.items()} == {
        "a": one,
        "b": "",
    }
    assert {name: requirements(pins) for name, pins in found.projects.items()} == {
        "libs/x, y": one,
        ".": "",
    }
    # An installer of requirements reads none of it.
    assert parse(text + LOCK).keys() == parse(LOCK).keys()
