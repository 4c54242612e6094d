"""What the OCI archive of an image says: its digest, and the bytes of its layers."""

import json
import tarfile
from typing import Any


def _read(archive: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401
    """The JSON document of a member."""
    file = archive.extractfile(name)
    assert file is not None
    return json.load(file)


def read(path: str) -> dict[str, Any]:
    """The facts; those of the first image where there are several (OCI image layout)."""
    with tarfile.open(path) as archive:
        return _describe(archive)


def _describe(archive: tarfile.TarFile) -> dict[str, Any]:
    [root, *_] = _read(archive, "index.json")["manifests"]
    manifest = _read(archive, "blobs/" + root["digest"].replace(":", "/"))
    if "manifests" in manifest:  # an index
        manifest = _read(archive, "blobs/" + manifest["manifests"][0]["digest"].replace(":", "/"))
    return {"digest": root["digest"], "bytes": sum(each["size"] for each in manifest["layers"])}
