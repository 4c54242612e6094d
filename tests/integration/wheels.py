"""Small wheels for tests: a module each, what they ask for, and files of any kind."""

from __future__ import annotations

import base64
import hashlib
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIME = (2020, 1, 1, 0, 0, 0)


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """A wheel of one module of that name, and of files beside it."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    asked = "".join(f"Requires-Dist: {each}\n" for each in requires)
    contents: dict[str, bytes] = {
        f"{stem}/__init__.py": f"version = {version!r}\n".encode(),
        **(files or {}),
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{asked}".encode()
        ),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{stem}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in contents.items():
            archive.writestr(zipfile.ZipInfo(path, _TIME), data)
    return wheel


def library_that_lacks(name: bytes) -> bytes:
    """A shared library that needs another one, whose name is as long as that of the C library."""
    known = b"libc.so.6\0"
    assert len(name) + 1 == len(known)
    dynload = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    for path in sorted(dynload.glob("*.so")):
        if known in (data := path.read_bytes()):
            return data.replace(known, name + b"\0")
    message = f"no library in {dynload} needs the C library"
    raise LookupError(message)


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return "sha256=" + digest.rstrip(b"=").decode()
