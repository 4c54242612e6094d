"""An image's digest is read from its archive, as the OCI image layout has it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from layerline.pipeline.image_facts import read

if TYPE_CHECKING:
    from pathlib import Path


def descriptor(blobs: dict[str, bytes], document: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = data
    return {"digest": f"sha256:{digest}", "size": len(data)}


@pytest.mark.parametrize("nested", [False, True], ids=["manifest", "index"])
def test_the_digest_is_that_of_the_root_and_the_bytes_are_the_layers(
    tmp_path: Path, *, nested: bool
) -> None:
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    root = descriptor(files, {"config": {"size": 9}, "layers": [{"size": 300}, {"size": 40}]})
    if nested:
        root = descriptor(files, {"manifests": [root]})
    files["index.json"] = json.dumps({"manifests": [root]}).encode()
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as writing:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            writing.addfile(member, io.BytesIO(data))
    assert read(str(archive)) == {"digest": root["digest"], "bytes": 340}
