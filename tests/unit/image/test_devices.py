"""Layers with device nodes have the same bytes and digests where no device can be created."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

import layerline
from layerline import command
from tests.ordinary_user import ordinary_user

SOURCES = str(Path(layerline.__file__).parents[1])

# Unpacks the layer of argv[1] into a new store, copies its directory by the writer, changes a copy,
# flattens all, and prints what can be seen of each.
SCRIPT = """
import hashlib, json, os, stat, sys
from pathlib import Path
from layerline import host
from layerline.engine.image.pack import pack
from layerline.engine.image.unpack import unpack
from layerline.engine.store.flatten import flatten
from layerline.engine.store.tree import Tree
from layerline.engine.store.tree_digest import tree_digest
from layerline.engine.store.writer import Writer

host.enter_namespaces()
os.umask(0o022)
base = Path(sys.argv[2])
layers = [base / name for name in ("image", "copy", "flat")]
for layer in layers:
    layer.mkdir()
image, copy, flat = layers
unpack(iter([Path(sys.argv[1]).read_bytes()]), image)
writer = Writer(Tree((image,)), copy)
writer.copy(Tree((image,)), "/srv", "/copied")
writer.set("/copied/zero", mode=0o600, owner=(7, 8))
writer.remove("/srv/null")
flatten([image, copy], flat)

def shown(tree):
    for entry in tree.walk():
        if stat.S_ISCHR(entry.stat.st_mode):
            yield entry.path, oct(entry.stat.st_mode), entry.stat.st_rdev, entry.stat.st_uid

print(json.dumps({
    "tars": [hashlib.sha256(b"".join(pack(layer))).hexdigest() for layer in layers],
    "digests": [tree_digest(Tree((image,))), tree_digest(Tree((image, copy)))],
    "devices": list(shown(Tree((image, copy)))),
    "flat": list(shown(Tree((flat,)))),
}))
"""


def layer_with_devices() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        directory = tarfile.TarInfo("srv")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(directory)
        tar.addfile(tarfile.TarInfo("srv/empty"))
        for name, minor in (("null", 3), ("zero", 5)):
            device = tarfile.TarInfo(f"srv/{name}")
            device.type, device.mode, device.mtime = tarfile.CHRTYPE, 0o640, 1_000_000_000
            device.devmajor, device.devminor, device.uid, device.gid = 1, minor, 4, 5
            tar.addfile(device)
        # What marks a stand-in is not taken from an image.
        forged = tarfile.TarInfo("srv/forged")
        forged.pax_headers = {"SCHILY.xattr.user.overlay.device": "b 8 0"}
        tar.addfile(forged)
    return buffer.getvalue()


@pytest.mark.usefixtures("container_user", "machine_root")
def test_devices_are_the_same_for_root_and_for_an_ordinary_user() -> None:
    with ordinary_user() as user:
        tar = user.home / "layer.tar"
        tar.write_bytes(layer_with_devices())
        (user.home / "of-root").mkdir()
        script: list[str | Path] = [sys.executable, "-c", SCRIPT, tar]
        environ = {"PYTHONPATH": SOURCES}
        by_root = command.run([*script, user.home / "of-root"], env=environ)
        argv = user.argv([*script, user.directory("of-user")])
        by_user = command.run(argv, env=user.environ(environ), cwd=user.home)
        nodes = [each for each in user.home.glob("of-user/**/*") if each.is_char_device()]
        numbers = {each.stat().st_rdev for each in nodes}
    seen = json.loads(by_root.stdout)
    assert [path for path, *_ in seen["devices"]] == ["/copied/null", "/copied/zero", "/srv/zero"]
    assert json.loads(by_user.stdout) == seen
    # Whiteouts alone: nothing in the user's files is a device.
    assert numbers == {0}
