"""Pins of the base in a lock: comments that older readers and other tools skip."""

from __future__ import annotations

import pytest

from layerline.pipeline import base_pins, lock
from layerline.pipeline.base_pins import BasePins, Deb
from layerline.pipeline.definition import Definition, parse_definition
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import LockInputs
from layerline.pipeline.platform import Platform

TOML = """\
[base]
packages = ["tini", "python3-venv"]
build_packages = ["gcc"]
[targets.cpu]
[groups.core]
requirements = ["numpy"]
packages = ["libgl1", "tini"]
[images.small]
target = "cpu"
groups = ["core"]
"""
DEFINITION = parse_definition(TOML)
ENTRIES = "numpy==2.0 \\\n    --hash=sha256:aa\n    # via scipy\nuv==1 \\\n    --hash=sha256:bb\n"
HEADER = LockInputs.of(DEFINITION, "cpu", Platform(python="3.11.2", machine="x86_64")).header()
PINS = BasePins(
    image="debian:bookworm-slim",
    digest="sha256:" + "a" * 64,
    packages=("python3-venv", "tini"),
    extra_packages=("gcc", "libgl1"),
    debs=(Deb.of(["tini", "0.19.0-1+b3", "amd64", "sha256:" + "b" * 64]),),
    extra_debs=(Deb.of(["libgl1", "1:1.6.0-1", "amd64", "sha256:" + "c" * 64]),),
)
LOCK = base_pins.insert_pins(HEADER + ENTRIES, PINS)


def test_pins_are_read_back_and_change_nothing_else_of_the_lock() -> None:
    assert BasePins.read(LOCK) == PINS
    assert lock.parse(LOCK) == lock.parse(ENTRIES)
    assert LockInputs.read(LOCK) == LockInputs.read(HEADER + ENTRIES)
    assert LOCK.startswith(HEADER)
    assert LOCK.endswith(ENTRIES)


def test_a_lock_without_pins_is_read_and_kept_as_it_is() -> None:
    assert base_pins.read_fitting(HEADER + ENTRIES, DEFINITION, "cpu") is None
    assert base_pins.insert_pins(HEADER + ENTRIES, None) == HEADER + ENTRIES


def test_the_pinned_reference_has_the_digest_of_the_lock() -> None:
    assert PINS.reference == f"debian:bookworm-slim@{PINS.digest}"


def test_what_groups_need_in_addition_is_no_part_of_the_base() -> None:
    assert PINS.of(["python3-venv", "tini"]) == PINS.debs
    assert PINS.of(["libgl1", "tini"]) == (*PINS.debs, *PINS.extra_debs)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (
            "[base]",
            '[base]\nimage = "debian:trixie-slim"',
            "the lock has the base debian:bookworm-slim; base.image is debian:trixie-slim",
        ),
        ('["tini", "python3-venv"]', '["python3-venv"]', "other base.packages: tini"),
        ('["gcc"]', "[]", "other packages of groups and builds: gcc"),
        ('"libgl1"', '"libegl1"', "other packages of groups and builds: libegl1, libgl1"),
    ],
)
def test_pins_that_do_not_fit_the_definition_are_refused(
    before: str, after: str, reason: str
) -> None:
    assert base_pins.read_fitting(LOCK, DEFINITION, "cpu") == PINS
    changed: Definition = parse_definition(TOML.replace(before, after))
    with pytest.raises(LockError) as caught:
        base_pins.read_fitting(LOCK, changed, "cpu")
    assert reason in str(caught.value)
    assert f"regenerate it with '{lock.command('cpu')}'" in str(caught.value)


def test_pins_are_replaced_and_nothing_else() -> None:
    assert base_pins.without_pins(LOCK) == HEADER + ENTRIES


def test_a_lock_that_does_not_say_what_its_layers_are_on_is_not_patched() -> None:
    assert base_pins.read_earlier(LOCK, DEFINITION, "cpu") == PINS
    with pytest.raises(LockError) as caught:
        base_pins.read_earlier(HEADER + ENTRIES, DEFINITION, "cpu")
    assert str(caught.value) == (
        "the lock of cpu does not pin the base that its layers are on: pin it with 'layerline call "
        "lock --target=cpu --upgrade-base export --path=locks/cpu.txt', and patch from then on"
    )
    changed = parse_definition(TOML.replace('["gcc"]', '["g++"]'))
    with pytest.raises(LockError, match=r"cannot be patched: .*\n  the lock has other packages"):
        base_pins.read_earlier(LOCK, changed, "cpu")
