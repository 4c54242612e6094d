"""Describes the image in an OCI archive.

    image_facts.py ARCHIVE

Prints the digest of the image and the bytes of its layers as they are transferred, as JSON.
"""

import json
import sys
import tarfile
from typing import Any


def read(archive: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401
    """The JSON document of a member."""
    file = archive.extractfile(name)
    assert file is not None
    return json.load(file)


def describe(archive: tarfile.TarFile) -> dict[str, Any]:
    """The facts; those of the first image where there are several (OCI image layout)."""
    [root, *_] = read(archive, "index.json")["manifests"]
    manifest = read(archive, "blobs/" + root["digest"].replace(":", "/"))
    if "manifests" in manifest:  # an index
        manifest = read(archive, "blobs/" + manifest["manifests"][0]["digest"].replace(":", "/"))
    return {"digest": root["digest"], "bytes": sum(each["size"] for each in manifest["layers"])}


if __name__ == "__main__":
    with tarfile.open(sys.argv[1]) as opened:
        print(json.dumps(describe(opened)))
