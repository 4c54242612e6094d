"""Every library with GPU code is compiled for every wanted GPU: read from the files, without a GPU.

    architectures.py PATTERN,... COMPUTE_CAPABILITY ...     such as '' 80 90

Libraries whose names match a pattern may lack code. Prints the bytes of code by architecture for
each package: `sm_` is machine code, `compute_` is PTX, `lto_` is what nvJitLink compiles.

GPU code lies in containers ("fat binaries", `__fatBinC` of CUDA's fatbinary_section.h) in the
sections `.nv_fatbin` and `__nv_relfatbin`, or among other data, as in cuFFT. A container has a
header of 16 bytes: magic, version, the header's size, the size of the rest. Each entry has a header
with kind (16 bits), header size (32 bits at 4), size of the code (64 bits at 8), architecture (32
bits at 28), flags (64 bits at 40) and the size before compression (64 bits at 56).
"""

import csv
import fnmatch
import importlib.metadata
import importlib.util
import mmap
import pathlib
import re
import struct
import sys
from collections import Counter
from collections.abc import Iterator

# The magic number, version 1, a header of 16 bytes.
HEADER = 16
CONTAINER = struct.pack("<IHH", 0xBA55ED50, 1, HEADER)
NAMES = {1: "compute", 2: "sm", 8: "lto"}
MACHINE_CODE = "sm"
ENTRY_HEADER = 64
# By LZ4 or by Zstandard.
COMPRESSED = 1 << 13 | 1 << 15
# A cubin of less bytes has no kernel: nvcc links one of 872 to 1,800 bytes into each library.
SMALLEST_KERNEL = 2048
# Code with features of one architecture (sm_90a), or of those with its first digits (sm_100f).
SPECIFIC, OF_FAMILY = 1 << 20, 1 << 21
ELF = b"\x7fELF\x02\x01"
ALLOCATED, EXECUTABLE, NO_BITS = 2, 4, 8
FATBIN_SECTIONS = (".nv_fatbin", "__nv_relfatbin")
LIBRARY = re.compile(r"\.so(\.\d+)*$")
# Of unknown kinds nothing is known, so none of them counts.
ARCHITECTURE = re.compile(r"^(compute|lto|sm)_(\d+)([af]?)$")
NUMBER = re.compile(r"\d+")


def sections(data: mmap.mmap) -> list[tuple[str, int, int]]:
    """Name, offset and size of the sections of an ELF file that have data but no instructions."""
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    if not table:
        return [("", 0, len(data))]
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    strings = headers[names][4]
    return [
        (data[(at := strings + name) : data.find(b"\0", at)].decode(), offset, length)
        for name, kind, flags, _, offset, length in headers
        if flags & ALLOCATED and not flags & EXECUTABLE and kind != NO_BITS
    ]


def gpu_code(path: pathlib.Path) -> Counter[str]:
    """Bytes of GPU code in a library by architecture, as they are stored."""
    found: Counter[str] = Counter()
    with path.open("rb") as file:
        if file.read(len(ELF)) != ELF:
            return found
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for name, start, size in sections(data):
                inside = [*containers(data, start, start + size)]
                if name in FATBIN_SECTIONS and size and not inside:
                    sys.exit(f"{path.name} has GPU code in {name} of an unknown format")
                for begin, end in inside:
                    found += entries(data, begin, end)
    return found


def containers(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the entries of each container begin and end."""
    while (at := data.find(CONTAINER, at, end)) >= 0:
        (length,) = struct.unpack_from("<Q", data, at + 8)
        at += HEADER
        if at + length <= end:
            yield at, at + length
            at += length


def entries(data: mmap.mmap, at: int, end: int) -> Counter[str]:
    """Bytes by architecture, without those of machine code that has no kernel."""
    found: Counter[str] = Counter()
    while at + ENTRY_HEADER <= end:
        kind, _, header, length = struct.unpack_from("<HHIQ", data, at)
        (number,) = struct.unpack_from("<I", data, at + 28)
        flags, _, unpacked = struct.unpack_from("<QQQ", data, at + 40)
        if header < ENTRY_HEADER:
            break
        letter = "a" if flags & SPECIFIC else "f" if flags & OF_FAMILY else ""
        name = NAMES.get(kind, f"kind{kind}")
        size = unpacked if flags & COMPRESSED else length
        if name != MACHINE_CODE or size >= SMALLEST_KERNEL:
            found[f"{name}_{number}{letter}"] += header + length
        at += header + length
    return found


def runs(wanted: int, code: Counter[str]) -> bool:
    """Whether a GPU has machine code, or code that its driver or nvJitLink can compile.

    Machine code also runs on later GPUs with the same first digits, PTX on all later ones; code
    with the features of one architecture runs there alone (CUDA C++ Programming Guide, "GPU feature
    availability").
    """
    for kind, digits, letter in (each for name in code for each in ARCHITECTURE.findall(name)):
        made = int(digits)
        in_family = made // 10 == wanted // 10
        if made == wanted or (
            made < wanted and letter != "a" and (in_family or (kind != MACHINE_CODE and not letter))
        ):
            return True
    return False


def libraries() -> dict[str, dict[str, Counter[str]]]:
    """The GPU code of each library that has some, by distribution and path."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for distribution in importlib.metadata.distributions():
        for path, *_ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
            place = pathlib.Path(str(distribution.locate_file(path)))
            if LIBRARY.search(path) and place.is_file() and (code := gpu_code(place)):
                found.setdefault(distribution.metadata["Name"], {})[path] = code
    return found


def lacking(
    package: str, files: dict[str, Counter[str]], wanted: list[str], patterns: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield the name of each library that lacks code, with what it lacks.

    Files whose paths differ in numbers alone are variants: together they have the code.
    """
    families: dict[str, list[str]] = {}
    for path in files:
        families.setdefault(NUMBER.sub("", path), []).append(path)
    for paths in families.values():
        names = list(map(name_of, paths))
        code = sum((files[path] for path in paths), Counter[str]())
        absent = [each for each in wanted if not runs(int(each), code)]
        excused = all(any(fnmatch.fnmatchcase(name, each) for each in patterns) for name in names)
        if absent and not excused:
            archs = ", ".join(sorted(code, key=in_order))
            yield (
                names[0],
                f"{paths[0]} of {package} has no code for {', '.join(absent)}; it has {archs}",
            )


def in_order(architecture: str) -> tuple[str, int, str]:
    """The key that sorts sm_90 before sm_100."""
    kind, _, number = architecture.rpartition("_")
    digits = number.rstrip("af")
    return kind, int(digits), number


def main(patterns: list[str], wanted: list[str]) -> None:
    """Look at every library of the environment."""
    found = libraries()
    spec = importlib.util.find_spec("torch")
    if spec is not None and "libtorch_cuda.so" not in map(name_of, found.get("torch", ())):
        sys.exit("PyTorch has no GPU code: it is a build for the CPU; see 'indexes' of the target")
    if wrong := [
        each
        for package, files in sorted(found.items())
        for each in lacking(package, files, wanted, patterns)
    ]:
        names = ", ".join(sorted({f'"{re.sub("[.]so[.].*", ".so.*", name)}"' for name, _ in wrong}))
        hint = (
            "lock versions of these packages that are compiled for all 'architectures' of the "
            "target; or, if the image does not use these files on such a GPU, add to the target: "
            f"uncovered = [{names}]"
        )
        sys.exit("\n".join([*(text for _, text in wrong), hint]))
    for package, files in sorted(found.items()):
        total = sum(files.values(), Counter[str]())
        parts = ", ".join(f"{name} {total[name]}" for name in sorted(total, key=in_order))
        print(f"{package}: {parts}")
    if not found:
        print("no GPU code")


def name_of(path: str) -> str:
    return pathlib.PurePosixPath(path).name


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2:])
