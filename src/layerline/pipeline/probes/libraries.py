"""Checks that every shared library that the packages link against is installed.

    libraries.py PATTERN[,PATTERN ...] CUDA PACKAGE ...

Files are read, never loaded. Libraries of the GPU driver are not part of an image; the patterns
match others that may be absent. A library anywhere in the environment counts, because packages
load those of their dependencies first. CUDA is the target's major version, or empty.

Wheels ship files for other machines, so a file that lacks a library passes where

- it is for another processor;
- it is a variant and one of its variants is complete. Variants are files of one package whose paths
  differ in numbers and names of devices only, and that no file links against. Where some of
  them are named after the target's CUDA, one of these must be complete;
- it is an extension module that the package itself imports only where it expects an ImportError.
"""

import ast
import collections
import contextlib
import fnmatch
import functools
import importlib.metadata
import mmap
import pathlib
import re
import struct
import sys
from collections.abc import Iterator

DRIVER = ("libcuda.so.*", "libnvidia-*.so.*", "libnvcuvid.so.*", "libcudadebugger.so.*")
SYSTEM = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB = 1, 5
E_MACHINE = slice(18, 20)
# Wheels name their variants after these.
DEVICES = "cpu|cuda|cu|rocm|hip|migraphx|xpu|sycl|openvino|tensorrt|npu|cann|musa|mps|vulkan"
VARIANT = re.compile(rf"[-_.]?((?<![a-z])({DEVICES})(?![a-z])|\d+)", re.IGNORECASE)
CUDA = re.compile(r"(?<![a-z])(?:cuda|cu)(\d*)(?![a-z])", re.IGNORECASE)


def needed_libraries(path: pathlib.Path) -> list[str] | None:
    """The libraries that a 64-bit ELF file of this processor names; None for other files."""
    if path.stat().st_size < 64:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:6] != b"\x7fELF\x02\x01" or data[E_MACHINE] != machine():
            return None
        return read_dynamic(data)


@functools.cache
def machine() -> bytes:
    """The processor that Python itself is for."""
    with pathlib.Path(sys.executable).open("rb") as file:
        return file.read(E_MACHINE.stop)[E_MACHINE]


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


def linked_files(package: str) -> dict[str, list[str]]:
    """The libraries that each file of a package names, by its path in the environment."""
    found = {}
    for file in importlib.metadata.files(package) or ():
        path = pathlib.Path(str(file.locate()))
        if path.is_file() and path.suffix not in (".py", ".pyi", ".h", ".txt"):
            found[str(file)] = needed_libraries(path)
    return {path: names for path, names in found.items() if names is not None}


def names_cuda(path: str, cuda: str) -> bool:
    """Whether a file is named after this version of CUDA, or after CUDA alone."""
    return any(not digits or digits.startswith(cuda) for digits in CUDA.findall(path))


def is_expected_to_fail(package: str, path: str) -> bool:
    """Whether the package imports this extension module only where it expects an ImportError."""
    module = name_of(path).partition(".")[0]
    sources = [file for file in importlib.metadata.files(package) or () if file.suffix == ".py"]
    guarded = [
        guard
        for source in sources
        if module in (text := source.locate().read_bytes().decode(errors="replace"))  # type: ignore[attr-defined]
        for guard in guards(text, module)
    ]
    return bool(guarded) and all(guarded)


def guards(text: str, module: str) -> Iterator[bool]:
    """For each import of a module: whether it is in a `try` that expects an ImportError."""
    with contextlib.suppress(SyntaxError, ValueError):  # a template, or for another Python
        pending: list[tuple[ast.AST, bool]] = [(ast.parse(text), False)]
        while pending:
            node, guarded = pending.pop()
            if module in imported_names(node):
                yield guarded
            body = node.body if isinstance(node, ast.Try) and expects_failure(node) else []
            pending += [(each, guarded or each in body) for each in ast.iter_child_nodes(node)]


def imported_names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.rpartition(".")[2] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").rpartition(".")[2], *(alias.name for alias in node.names)}
    return set()


def expects_failure(node: ast.Try) -> bool:
    caught = [handler.type for handler in node.handlers]
    names = {
        name.id
        for each in caught
        for name in (ast.walk(each) if each is not None else ())
        if isinstance(name, ast.Name)
    }
    return None in caught or not names.isdisjoint(
        {"ImportError", "ModuleNotFoundError", "OSError", "Exception", "BaseException"}
    )


def variants(files: dict[str, list[str]]) -> list[list[str]]:
    """The files of a package by family; one that another part of it links against is alone."""
    families: dict[str, list[str]] = collections.defaultdict(list)
    for path in files:
        families[VARIANT.sub("", path)].append(path)
    linked = {
        name
        for family in families.values()
        for path in family
        for name in files[path]
        if len(family) == 1 or name in map(name_of, family)
    }
    found = [[path for path in each if name_of(path) not in linked] for each in families.values()]
    return [*filter(None, found), *([path] for path in files if name_of(path) in linked)]


def name_of(path: str) -> str:
    return pathlib.PurePosixPath(path).name


def incomplete(
    package: str, files: dict[str, list[str]], lacking: dict[str, list[str]], cuda: str
) -> Iterator[tuple[str, list[str]]]:
    """Of a package's files and what each lacks: those that a machine like this one loads."""
    for family in variants(files):
        wanted = [path for path in family if cuda and names_cuda(path, cuda)] or family
        if all(lacking[path] for path in wanted):
            least = min(sorted(wanted, reverse=True), key=lambda path: len(lacking[path]))
            if not is_expected_to_fail(package, least):
                yield least, lacking[least]


def main(patterns: tuple[str, ...], cuda: str, packages: list[str]) -> None:
    """Look at every file of the packages."""
    there = present()
    excused = (*DRIVER, *filter(None, patterns))
    files = {package: linked_files(package) for package in packages}
    absent: set[str] = set()
    complete = 0
    wrong: dict[str, list[str]] = collections.defaultdict(list)
    for package, needed in files.items():
        absent.update(name for names in needed.values() for name in names if name not in there)
        lacking = {
            path: [
                name
                for name in names
                if name not in there and not any(fnmatch.fnmatchcase(name, p) for p in excused)
            ]
            for path, names in needed.items()
        }
        complete += sum(not names for names in lacking.values())
        for path, names in incomplete(package, needed, lacking, cuda):
            for name in names:
                wrong[name].append(path)
    if wrong:
        sys.exit(explain(wrong))
    print(f"{complete} files complete; not in the image: {' '.join(sorted(absent)) or 'none'}")


def explain(wrong: dict[str, list[str]]) -> str:
    """A line for each library, and what to write into layerline.toml."""
    lines = []
    for name, paths in sorted(wrong.items()):
        first, *others = sorted(paths)
        more = f" (and {len(others)} more)" if others else ""
        lines.append(f"{first}{more} needs {name}, which is not installed")
    patterns = ", ".join(sorted({f'"{re.sub("[.]so[.].*", ".so.*", name)}"' for name in wrong}))
    lines.append(
        "add the distribution's package that has it to 'packages' of the group; or, if the image "
        f"does not use these files, add to the group: missing = [{patterns}]"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main(tuple(sys.argv[1].split(",")), sys.argv[2], sys.argv[3:])
