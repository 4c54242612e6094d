"""Markers are read as the kernel reads them; everything else is a program's data.

The right values come from the kernel: the same layers are mounted and listed.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.image.pack import pack
from layerline.engine.image.unpack import unpack
from layerline.engine.store.flatten import flatten
from layerline.engine.store.overlay import attributes, is_opaque
from layerline.engine.store.tree import Tree
from layerline.kernel import mount_overlay, unmount
from layerline.settings import python

SOURCE = Path(__file__).parents[3] / "src"
NAMES = ["user.overlay.opaque", "user.overlay.whiteout", "user.overlay.redirect", "user.overlayx"]
WITHOUT_PRIVILEGES = """
import json, os, sys
from pathlib import Path
from layerline import kernel
from layerline.engine.store.overlay import attributes, content_name, is_opaque, make_opaque
from layerline.engine.store.tree import Tree

lower, upper, work, mounted = (Path(sys.argv[1], name) for name in ("lower", "up", "work", "m"))
for place in (lower / "d", lower / "e", lower / "f", upper / "d", work, mounted):
    place.mkdir(parents=True)
for name in "def":
    (lower / name / "old").touch()
make_opaque(str(upper / "d"))
kernel.mount_overlay([lower], mounted, upper=upper, work=work)
(mounted / "e/old").unlink()
(mounted / "e").rmdir()
(mounted / "e").mkdir()
os.setxattr(mounted / "f", "user.overlay.opaque", b"y")
seen = {name: sorted(os.listdir(mounted / name)) for name in "def"}
data = os.getxattr(mounted / "f", "user.overlay.opaque").decode()
kernel.unmount(mounted)
tree = Tree((lower, upper))
print(json.dumps([
    seen == {name: [each.name for each in tree.scan(name)] for name in "def"},
    [is_opaque(str(upper / name)) for name in "def"],
    {content_name(name): value.decode() for name, value in attributes(str(upper / "f")).items()},
    data,
]))
"""


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    """Two layers; a program has set attributes in the upper one's directory `d`."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for layer, name in ((lower, "old"), (upper, "new")):
        (layer / "d").mkdir(parents=True)
        (layer / "d" / name).touch()
    for name in NAMES:
        os.setxattr(upper / "d", name, b"y")
    return lower, upper


@pytest.mark.usefixtures("overlay", "trusted_attributes")
def test_attributes_of_a_program_hide_nothing(layers: tuple[Path, Path], tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    mount_overlay(layers, mounted, upper=None, work=None)
    try:
        kernel = sorted(path.name for path in (mounted / "d").iterdir())
        kernels = {name: os.getxattr(mounted / "d", name) for name in os.listxattr(mounted / "d")}
    finally:
        unmount(mounted)
    entry = Tree(layers).lookup("d")
    assert [each.name for each in Tree(layers).scan("d")] == kernel == ["new", "old"]
    assert attributes(entry.location) == kernels == dict.fromkeys(NAMES, b"y")
    merged = tmp_path / "flat"
    merged.mkdir()
    flatten(layers, merged)
    assert not is_opaque(str(merged / "d"))
    assert attributes(str(merged / "d")) == kernels


@pytest.mark.usefixtures("trusted_attributes")
def test_attributes_of_a_program_are_exported_and_imported_as_data(
    layers: tuple[Path, Path], tmp_path: Path
) -> None:
    """As containerd: it sets them, and writes an opaque marker only for the one of its overlay.

    https://github.com/containerd/containerd/blob/v2.1.0/pkg/archive/tar_unix.go
    """
    data = b"".join(pack(layers[1]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {member.name: member for member in archive}
    assert sorted(members) == ["d", "d/new"]
    for name in NAMES:
        assert members["d"].pax_headers[f"SCHILY.xattr.{name}"] == "y"
    again = tmp_path / "again"
    again.mkdir()
    unpack(iter([data]), again)
    assert attributes(str(again / "d")) == dict.fromkeys(NAMES, b"y")


@pytest.mark.usefixtures("trusted_attributes")
def test_what_the_kernel_escaped_for_a_program_is_data(tmp_path: Path) -> None:
    os.setxattr(tmp_path, "trusted.overlay.overlay.opaque", b"y")
    os.setxattr(tmp_path, "trusted.overlay.origin", b"y")
    assert attributes(str(tmp_path)) == {"trusted.overlay.overlay.opaque": b"y"}
    assert not is_opaque(str(tmp_path))


@pytest.mark.usefixtures("overlay")
def test_without_trusted_attributes_the_users_are_the_markers(tmp_path: Path) -> None:
    words = ["unshare", "--user", "--map-root-user", "--mount", python(), "-c"]
    env = {"PYTHONPATH": str(SOURCE)}
    done = command.run([*words, WITHOUT_PRIVILEGES, tmp_path], env=env)
    assert done.stdout == b'[true, [true, true, false], {"user.overlay.opaque": "y"}, "y"]\n'
