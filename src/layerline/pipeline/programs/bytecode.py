"""Compiles the Python files of packages to bytecode, byte for byte the same everywhere.

    python -I -S bytecode.py LAYER OUTPUT PREFIX

LAYER has what an installation adds to PREFIX, or a part of it; OUTPUT gets the `__pycache__`
directories for it, at the same paths. Nothing of the layer is run. Prints the numbers of files,
bytes and seconds, and the files that do not compile, as JSON.

A file has the hash of its source, which the interpreter compares (PEP 552, checked): an edit of a
source is never ignored, whatever its time and size are. What marshal writes by itself depends on
reference counts, and on which strings others have interned; see `compact` and `Canonical`.
"""

import importlib.util
import json
import marshal
import os
import pathlib
import struct
import sys
import time
import types
import warnings
from collections.abc import Iterator
from typing import Any

EPOCH = 315532800
CHECKED = 0b11  # PEP 552: by hash, and the source is checked
VERSION = 2
SHARED_VERSION = 5  # the first with slices, which are constants since 3.14
SLICES = (3, 14)
WORTH_A_PROCESS = 2_000_000  # bytes of sources: about 0.25 s
CHUNK = 16
Node = tuple[bytes, tuple[int, ...], bytes, tuple[int, ...]]
Work = tuple[pathlib.Path, pathlib.Path, str]  # a source, its result, its path in the image
FLAG = 0x80
REFERENCE = b"r"
LONGEST_SHORT = 255
# Sizes of what follows the type of an object of one size.
FIXED = {b"N": 0, b"T": 0, b"F": 0, b".": 0, b"S": 0, b"i": 4, b"g": 8, b"y": 16}
STRINGS = {b"z": 1, b"Z": 1, b"a": 4, b"A": 4, b"u": 4, b"t": 4}  # and the size of their length
COLLECTIONS = {b")": 1, b"(": 4, b">": 4}
SLICE = 3
NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
NUMBERS = 20  # bytes of a code object's five numbers
BEFORE_LINE, AFTER_LINE = 8, 2  # its objects, around the number of its first line


def compact(code: types.CodeType, path: str) -> bytes:
    """A code object in marshal's version 2, which has no references.

    So each function would have the name of its file: 8 % more memory after the imports of pandas,
    sympy and fastapi. As an interned string it is in memory once. See Python/marshal.c of CPython
    3.11 to 3.13.
    """
    data = marshal.dumps(code, VERSION)
    name = path.encode("utf-8", "surrogatepass")
    name = struct.pack("<i", len(name)) + name
    written = b"u" + name
    interned = data.replace(written, b"t" + name)
    if data.count(written) == functions(code):
        return interned
    # A constant has these bytes within it, too.
    return interned if marshal.loads(interned) == code else data


def functions(code: types.CodeType) -> int:
    """The number of code objects in one, with itself: each is written with the name of its file."""
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return 1 + sum(map(functions, inner))


class Canonical:
    """A code object in marshal's version 5, with references that its values alone decide.

    An object has the flag of references if it occurs again, and equal ones are one; the strings
    that are marked as interned are those that Python interns in all code (`intern_constants` of
    Objects/codeobject.c). See Python/marshal.c of CPython 3.14, and marshalparser, which removes
    flags that nothing refers to: https://github.com/fedora-python/marshalparser.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.referred: list[int] = []
        self.numbers: dict[Node, int] = {}
        self.nodes: list[Node] = []
        self.root = self.read()

    def take(self, size: int) -> bytes:
        """The next bytes."""
        found = self.data[self.position : self.position + size]
        self.position += size
        return found

    def count(self, size: int) -> int:
        """The next number."""
        return int.from_bytes(self.take(size), "little", signed=size > 1)

    def read(self) -> int:
        """Read the next object; returns its number, which equal ones share."""
        [first] = self.take(1)
        kind = bytes([first & ~FLAG])
        if kind == REFERENCE:
            return self.referred[self.count(4)]
        place = len(self.referred)
        if first & FLAG:
            self.referred.append(-1)  # an object comes before what is in it
        found = self.number(self.content(kind))
        if first & FLAG:
            self.referred[place] = found
        return found

    def content(self, kind: bytes) -> Node:
        """An object as bytes, the objects in it, again bytes, and again objects."""
        if kind in FIXED:
            return kind + self.take(FIXED[kind]), (), b"", ()
        if kind == b"c":
            head = kind + self.take(NUMBERS)
            before = tuple(self.read() for _ in range(BEFORE_LINE))
            line = self.take(4)
            return head, before, line, tuple(self.read() for _ in range(AFTER_LINE))
        if kind in COLLECTIONS:
            start = self.position
            count = self.count(COLLECTIONS[kind])
            head = kind + self.data[start : self.position]
            found = [self.read() for _ in range(count)]
            if kind == b">":  # Python sorts a set by what it writes, marks included
                found.sort(key=self.expanded)
            return head, tuple(found), b"", ()
        if kind == b":":
            return kind, tuple(self.read() for _ in range(SLICE)), b"", ()
        return self.leaf(kind), (), b"", ()

    def leaf(self, kind: bytes) -> bytes:
        """A text, bytes or a large number."""
        if kind in STRINGS:
            text = self.take(self.count(STRINGS[kind]))
            if not text.isascii():
                return b"u" + struct.pack("<i", len(text)) + text
            is_name = not text.translate(None, NAME)
            if len(text) <= LONGEST_SHORT:
                return (b"Z" if is_name else b"z") + bytes([len(text)]) + text
            return (b"A" if is_name else b"a") + struct.pack("<i", len(text)) + text
        if kind not in (b"s", b"l"):
            message = f"unknown type {kind!r} in marshalled code"
            raise ValueError(message)
        count = self.count(4)
        return (
            kind + struct.pack("<i", count) + self.take(2 * abs(count) if kind == b"l" else count)
        )

    def number(self, content: Node) -> int:
        """The number of an object; functions are never one, however equal they are."""
        known = None if content[0].startswith(b"c") else self.numbers.get(content)
        if known is None:
            known = len(self.nodes)
            self.nodes.append(content)
            self.numbers[content] = known
        return known

    def expanded(self, number: int) -> bytes:
        """An object without references, to compare it with others."""
        head, before, line, after = self.nodes[number]
        inner = b"".join(map(self.expanded, before))
        return head + inner + line + b"".join(map(self.expanded, after))

    def written(self) -> bytes:
        """The object with all that is in it."""
        uses = [0] * len(self.nodes)
        uses[self.root] = 1
        for number in range(len(self.nodes) - 1, -1, -1):  # an object comes after what is in it
            for inner in self.nodes[number][1] + self.nodes[number][3] if uses[number] else ():
                uses[inner] += 1
        parts: list[bytes] = []
        places: dict[int, int] = {}
        self.write(self.root, uses, places, parts)
        return b"".join(parts)

    def write(
        self, number: int, uses: list[int], places: dict[int, int], parts: list[bytes]
    ) -> None:
        """Write an object, or a reference to where it was written."""
        if number in places:
            parts.append(REFERENCE + struct.pack("<i", places[number]))
            return
        head, before, line, after = self.nodes[number]
        if uses[number] > 1 and (before or len(head) > len(REFERENCE) + 4):
            places[number] = len(places)
            head = bytes([head[0] | FLAG]) + head[1:]
        parts.append(head)
        for inner in before:
            self.write(inner, uses, places, parts)
        parts.append(line)
        for inner in after:
            self.write(inner, uses, places, parts)


def compiled(source: bytes, path: str) -> bytes:
    """The content of the file of bytecode for a source at a path."""
    code = compile(source, path, "exec", dont_inherit=True)
    if sys.version_info < SLICES:
        body = compact(code, path)
    else:
        body = Canonical(marshal.dumps(code, SHARED_VERSION)).written()
    flags = struct.pack("<I", CHECKED)
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + body


def compile_files(work: list[Work]) -> list[int]:
    """Compile files; returns their sizes, -1 for what does not compile."""
    warnings.simplefilter("ignore")  # of the authors' syntax
    sizes = []
    for source, result, path in work:
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


def compile_all(work: list[Work]) -> list[int]:
    """Compile files on all processors, as far as that is worth it."""
    size = sum(source.stat().st_size for source, _, _ in work)
    processes = min(len(os.sched_getaffinity(0)), 1 + size // WORTH_A_PROCESS)
    if processes == 1:
        return compile_files(work)
    # 20 ms that a small package does not need.
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    chunks = [work[start : start + CHUNK] for start in range(0, len(work), CHUNK)]
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        return [size for each in pool.map(compile_files, chunks) for size in each]


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
    begin = time.monotonic()
    sys.setrecursionlimit(10_000)
    paths = sorted(sources(layer))
    work = []
    for path in paths:
        name = f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        result = output / path.parent / "__pycache__" / name
        work.append((layer / path, result, str(prefix / path)))
    sizes = compile_all(work)
    output.mkdir(parents=True, exist_ok=True)  # also without any file: it is copied
    for directory, _, _ in os.walk(output, topdown=False):
        os.utime(directory, (EPOCH, EPOCH))
    made = [size for size in sizes if size >= 0]
    left_out = [str(path) for path, size in zip(paths, sizes, strict=True) if size < 0]
    seconds = round(time.monotonic() - begin, 3)
    return {"files": len(made), "bytes": sum(made), "seconds": seconds, "left_out": left_out}


if __name__ == "__main__":
    print(json.dumps(main(*map(pathlib.Path, sys.argv[1:]))))
