"""PyTorch is compiled for every wanted GPU: read from its libraries, without a GPU.

    architectures.py COMPUTE_CAPABILITY ...     such as 80 90

Code for a capability also runs on later ones with the same first digits.
"""

import importlib.util
import mmap
import pathlib
import struct
import sys

FATBIN = 0xBA55ED50
PTX, CUBIN = 1, 2


def sections(data: mmap.mmap, wanted: str) -> list[tuple[int, int]]:
    """Offset and size of the sections of an ELF file that have a name."""
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    strings = headers[names][4]
    return [
        (header[4], header[5])
        for header in headers
        if data[(at := strings + header[0]) : data.find(b"\0", at)].decode() == wanted
    ]


def gpu_code(path: pathlib.Path) -> set[tuple[int, int]]:
    """Kind and architecture of all GPU code in a library."""
    found = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start, size in sections(data, ".nv_fatbin"):
            at = start
            while at + 16 <= start + size:
                magic, _, header, length = struct.unpack_from("<IHHQ", data, at)
                if magic != FATBIN:
                    at += 8
                    continue
                found |= entries(data, at + header, at + header + length)
                at += header + length
    return found


def entries(data: mmap.mmap, at: int, end: int) -> set[tuple[int, int]]:
    found = set()
    while at < end:
        kind, _, header, length = struct.unpack_from("<HHIQ", data, at)
        (architecture,) = struct.unpack_from("<I", data, at + 28)
        found.add((kind, architecture))
        at += header + length
    return found


def runs(wanted: int, code: set[tuple[int, int]]) -> bool:
    """Whether there is machine code for a GPU, or PTX that its driver can compile."""
    return any(
        (kind == CUBIN and made // 10 == wanted // 10 and made <= wanted)
        or (kind == PTX and made <= wanted)
        for kind, made in code
    )


if __name__ == "__main__":
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        print("no PyTorch here")
        sys.exit()
    library = pathlib.Path(spec.origin).parent / "lib" / "libtorch_cuda.so"
    code = gpu_code(library)
    lacking = [name for name in sys.argv[1:] if not runs(int(name), code)]
    made = sorted(f"sm_{made}" if kind == CUBIN else f"compute_{made}" for kind, made in code)
    if lacking:
        sys.exit(f"no code for {', '.join(lacking)}; there is {', '.join(made)}")
    print(" ".join(made))
