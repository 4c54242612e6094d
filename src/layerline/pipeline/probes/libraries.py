"""Checks that every shared library that the packages link against is installed.

    libraries.py PATTERN[,PATTERN ...] PACKAGE ...

Files are read, never loaded. Libraries of the GPU driver are not part of an image; the patterns
match others that may be absent. A library anywhere in the environment counts, because packages
load those of their dependencies first.
"""

import fnmatch
import importlib.metadata
import mmap
import pathlib
import struct
import sys

DRIVER = ("libcuda.so.*", "libnvidia-*.so.*", "libnvcuvid.so.*", "libcudadebugger.so.*")
SYSTEM = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB = 1, 5


def needed_libraries(path: pathlib.Path) -> list[str]:
    """The libraries that a 64-bit ELF file names; nothing for other files."""
    if path.stat().st_size < 64:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:6] != b"\x7fELF\x02\x01":
            return []
        return read_dynamic(data)


def read_dynamic(data: mmap.mmap) -> list[str]:
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, start + i * size) for i in range(count)]
    entries = [
        struct.unpack_from("<qQ", data, offset + step)
        for kind, _, offset, _, _, length, _, _ in segments
        if kind == PT_DYNAMIC
        for step in range(0, length, 16)
    ]
    tables = [value for tag, value in entries if tag == DT_STRTAB]
    if not tables:
        return []
    strings = next(
        offset + tables[0] - address
        for kind, _, offset, address, _, length, _, _ in segments
        if kind == PT_LOAD and address <= tables[0] < address + length
    )
    places = [strings + value for tag, value in entries if tag == DT_NEEDED]
    return [data[place : data.find(b"\0", place)].decode() for place in places]


def present() -> set[str]:
    """The names of all shared libraries in the environment and on the system."""
    roots = [pathlib.Path(root) for root in (*SYSTEM, sys.prefix)]
    return {path.name for root in roots for path in root.rglob("*.so*")}


def main(patterns: tuple[str, ...], packages: list[str]) -> None:
    """Look at every file of the packages."""
    there = present()
    lacking: set[tuple[str, str]] = set()
    libraries = 0
    for package in packages:
        for file in importlib.metadata.files(package) or ():
            path = pathlib.Path(str(file.locate()))
            if not path.is_file() or path.suffix in (".py", ".pyi", ".h", ".txt"):
                continue
            names = needed_libraries(path)
            libraries += bool(names)
            lacking.update((str(file), name) for name in names if name not in there)
    excused = (*DRIVER, *filter(None, patterns))
    wrong = sorted(
        f"{file} needs {name}, which is not installed"
        for file, name in lacking
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in excused)
    )
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{libraries} files complete; not in the image: {names_of(lacking)}")


def names_of(lacking: set[tuple[str, str]]) -> str:
    return " ".join(sorted({name for _, name in lacking})) or "none"


if __name__ == "__main__":
    main(tuple(sys.argv[1].split(",")), sys.argv[2:])
