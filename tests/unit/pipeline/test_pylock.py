"""A lock as a pylock.toml: what `packaging.pylock`, the reference implementation of PEP 751, reads.

The text is what `uv pip compile --format=pylock.toml` of uv 0.13.9 writes.
"""

from __future__ import annotations

import tomllib

import pytest
from packaging.pylock import Pylock

from layerline.pipeline import lock
from layerline.pipeline.foreign_lock import read
from layerline.pipeline.lock import LockError
from layerline.pipeline.platform import Platform
from layerline.pipeline.pylock import document

COMMIT = "986b70489f747bc131127f0315a24dc30dcd3dfa"
HOST = "https://host.example"


def file(name: str, digit: str) -> str:
    """A file as uv writes it."""
    when = "upload-time = 2024-09-15T18:07:37Z, size = 70442"
    return f'{{ url = "{HOST}/{name}", {when}, hashes = {{ sha256 = "{digit * 64}" }} }}'


UV = f"""\
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11.2"

[[packages]]
name = "idna"
version = "3.10"
wheels = [{file("idna-3.10-py3-none-any.whl", "a")}]

[[packages]]
name = "langdetect"
version = "1.0.9"
sdist = {file("langdetect-1.0.9.tar.gz", "b")}

[[packages]]
name = "six"
version = "1.17.0"
wheels = [{file("six-1.17.0-py3-none-any.whl", "c")}]
"""
LOCK = f"""\
# version: one 1.5
idna==3.10
langdetect==1.0.9
one @ git+https://host.example/one@{COMMIT}#subdirectory=py
six==1.17.0
    # via langdetect, one
"""
PINS = lock.parse(LOCK).values()


def test_it_is_valid_and_says_who_requires_whom() -> None:
    found = Pylock.from_dict(tomllib.loads(document(UV, PINS)))
    found.validate()
    packages = {str(each.name): each for each in found.packages}
    dependencies = {name: each.dependencies for name, each in packages.items()}
    assert dependencies == {
        "idna": [],
        "langdetect": [{"name": "six"}],
        "one": [{"name": "six"}],
        "six": [],
    }
    vcs = packages["one"].vcs
    assert vcs is not None
    assert (vcs.type, vcs.url, vcs.commit_id) == ("git", "https://host.example/one", COMMIT)
    assert (str(packages["one"].version), vcs.subdirectory) == ("1.5", "py")


def test_it_is_read_back_with_its_dependencies() -> None:
    pins = [pin for pin in PINS if not pin.url]
    text = read("pylock.cpu.toml", document(UV, pins), ["langdetect"], Platform())
    assert {name: pin.required_by for name, pin in lock.parse(text).items()} == {
        "langdetect": frozenset(),
        "six": frozenset({"langdetect"}),
    }
    assert f"--hash=sha256:{'b' * 64}" in text


def test_commits_alone_are_tables_as_well() -> None:
    # What `uv pip compile --format=pylock.toml` of uv 0.13.9 writes of an empty list.
    nothing = 'lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n'
    pins = [pin for pin in PINS if pin.url]
    text = document(nothing, pins)
    Pylock.from_dict(tomllib.loads(text)).validate()
    url = f"git+https://host.example/one@{COMMIT}#subdirectory=py"
    assert f"one @ {url}\n" in read("pylock.cpu.toml", text, ["one"], Platform())


def test_a_file_of_a_wheelhouse_has_no_url() -> None:
    text = UV.replace("https://host.example", "file:///mnt/wheelhouse")
    with pytest.raises(LockError, match="lock with indexes alone for --format=pylock"):
        document(text, PINS)
