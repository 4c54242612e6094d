"""Reading a lock, and following who asks for whom."""

from __future__ import annotations

import pytest

from layerline.pipeline.lock import LockError, closure, parse, requirements

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
