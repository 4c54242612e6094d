"""Compiles the Python files of a layer to bytecode, byte for byte the same everywhere.

    python -I -S bytecode.py LAYER OUTPUT PREFIX

LAYER has what an installation adds to PREFIX; OUTPUT gets the `__pycache__` directories for it, at
the same paths. Nothing of the layer is run. Prints the numbers of files and of bytes, and the files
that do not compile, as JSON.

A file has the hash of its source, which the interpreter compares (PEP 552, checked): an edit of a
source is never ignored, whatever its time and size are. The version of marshal that Python itself
writes depends on reference counts, and on which strings others have interned; version 2 does not.
"""

import concurrent.futures
import importlib.util
import json
import marshal
import multiprocessing
import os
import pathlib
import struct
import sys
import warnings
from collections.abc import Iterator
from typing import Any

EPOCH = 315532800
NEWEST = (3, 13)  # in 3.14 some constants need version 5 of marshal
VERSION = 2
CHECKED = 0b11  # PEP 552: by hash, and the source is checked
CHUNK = 64
# Sizes of what follows the type of an object of one size.
FIXED = {b"N": 0, b"T": 0, b"F": 0, b".": 0, b"S": 0, b"i": 4, b"g": 8, b"y": 16}
LONG = 4


class Marshalled:
    """A stream of marshal's version 2, in which the names of files become interned strings.

    Version 2 has no references, so each function has the name of its file: 8 % more memory after
    the imports of pandas, sympy and fastapi, where an interned string is in memory once. See
    Python/marshal.c of CPython 3.11 to 3.13.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        found = self.data[self.position : self.position + size]
        self.position += size
        return found

    def object(self, *, interned: bool = False) -> bytes:
        """The next object; a string is interned on demand."""
        kind = self.take(1)
        if kind in FIXED:
            return kind + self.take(FIXED[kind])
        if kind == b"c":
            return kind + self.code()
        size = self.take(LONG)
        (count,) = struct.unpack("<i", size)
        if kind == b"l":
            return kind + size + self.take(2 * abs(count))
        if kind in (b"s", b"u"):
            return (b"t" if interned else kind) + size + self.take(count)
        if kind not in (b"(", b">"):
            message = f"unknown type {kind!r} in marshalled code"
            raise ValueError(message)
        return kind + size + b"".join(self.object() for _ in range(count))

    def code(self) -> bytes:
        """A code object, after its type."""
        numbers = self.take(5 * LONG)
        objects = [self.object() for _ in range(5)]
        file = self.object(interned=True)
        names = [self.object() for _ in range(2)]
        line = self.take(LONG)
        tables = [self.object() for _ in range(2)]
        return numbers + b"".join([*objects, file, *names, line, *tables])


def compiled(source: bytes, path: str) -> bytes:
    """The content of the file of bytecode for a source at a path."""
    code = compile(source, path, "exec", dont_inherit=True)
    body = Marshalled(marshal.dumps(code, VERSION)).object()
    flags = struct.pack("<I", CHECKED)
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + body


def compile_files(chunk: list[tuple[pathlib.Path, pathlib.Path, str]]) -> list[int]:
    """Compile files, each a source, a result and a path in the image; gives their sizes, or -1."""
    warnings.simplefilter("ignore")  # of the authors' syntax
    sizes = []
    for source, result, path in chunk:
        try:
            content = compiled(source.read_bytes(), path)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            sizes.append(-1)  # pip leaves them out, too: templates, and files for other versions
            continue
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_bytes(content)
        os.utime(result, (EPOCH, EPOCH))
        sizes.append(len(content))
    return sizes


def sources(layer: pathlib.Path) -> Iterator[pathlib.Path]:
    """The Python files of the layer's packages, relative to it."""
    for directory, _, names in os.walk(layer):
        place = pathlib.Path(directory)
        if "site-packages" in place.relative_to(layer).parts:
            for name in names:
                path = place / name
                if name.endswith(".py") and path.is_file() and not path.is_symlink():
                    yield path.relative_to(layer)


def main(layer: pathlib.Path, output: pathlib.Path, prefix: pathlib.Path) -> dict[str, Any]:
    """Compile a layer."""
    if sys.version_info[:2] > NEWEST:
        known, has = (".".join(map(str, each)) for each in (NEWEST, sys.version_info[:2]))
        sys.exit(
            f"bytecode can be the same everywhere for Python up to {known}, and the base has {has}:"
            " take bytecode = true out of layerline.toml"
        )
    sys.setrecursionlimit(10_000)
    paths = sorted(sources(layer))
    work = []
    for path in paths:
        name = f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        result = output / path.parent / "__pycache__" / name
        work.append((layer / path, result, str(prefix / path)))
    chunks = [work[start : start + CHUNK] for start in range(0, len(work), CHUNK)]
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        sizes = [size for each in pool.map(compile_files, chunks) for size in each]
    for directory, _, _ in os.walk(output, topdown=False):
        os.utime(directory, (EPOCH, EPOCH))
    made = [size for size in sizes if size >= 0]
    left_out = [str(path) for path, size in zip(paths, sizes, strict=True) if size < 0]
    return {"files": len(made), "bytes": sum(made), "left_out": left_out}


if __name__ == "__main__":
    print(json.dumps(main(*map(pathlib.Path, sys.argv[1:]))))
