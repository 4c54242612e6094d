"""The probe `architectures`: GPU code in ELF files, fabricated and of real wheels.

The format is that of `fatbinary_section.h` of CUDA and of what its cuobjdump reads; the sections,
sizes and flags are those of the libraries of NVIDIA's wheels (cuBLAS 12.8, cuDNN 9.28, cuFFT 11.4,
NCCL 2.32), where cuobjdump 13.5 counts the same entries.
"""

from __future__ import annotations

import re
import struct
import sys
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.pipeline.gpu_code import by_architecture
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.unit.pipeline.conftest import Site

PTX, CUBIN, LTO = 1, 2, 8
LZ4, ZSTANDARD, SPECIFIC, FAMILY = 0x2000, 0x8000, 0x100000, 0x200000
KERNEL = 4096
EMPTY = 872  # the cubin that nvcc links into each library


def entry(kind: int, architecture: int, flags: int = 0, *, size: int = KERNEL) -> bytes:
    """Code of some size, compressed if the flags say so, with a header as long as NVIDIA's."""
    header = 64 if architecture < 100 else 96
    compressed = bool(flags & (LZ4 | ZSTANDARD))
    stored = size // 2 if compressed else size
    head = struct.pack("<HHIQIIHHI", kind, 0x101, header, stored, stored, 0, 8, 1, architecture)
    head += struct.pack("<IIQQQ", 0, 0, 0x11 | flags, 0, size if compressed else 0)
    return head.ljust(header, b"\0") + bytes(stored)


def container(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(sections: Mapping[str, bytes]) -> bytes:
    """A 64-bit ELF file of sections with data (System V ABI, figure 4-8)."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in sections) + b".shstrtab\0"
    data, table = b"", [bytes(64)]
    for name, content in {**sections, ".shstrtab": names}.items():
        flags = 0 if name == ".shstrtab" else 6 if name == ".text" else 2
        where = (names.index(b"\0" + name.encode() + b"\0") + 1, 1, flags, 0, 64 + len(data))
        table.append(struct.pack("<IIQQQQIIQQ", *where, len(content), 0, 0, 8, 0))
        data += content.ljust(-len(content) % 8 + len(content), b"\0")
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        *("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 64 + len(data), 0, 64, 0, 0, 64),
        *(len(table), len(table) - 1),
    )
    return header + data + b"".join(table)


def probe(site: Site, *argv: str) -> tuple[int, str]:
    status, output, error = site.probe("architectures", *argv)
    assert "Traceback" not in error
    return status, output if status == 0 else error


def test_code_of_every_library_is_counted_by_package_and_architecture(site: Site) -> None:
    code = container(entry(CUBIN, 90, LZ4), entry(CUBIN, 90, SPECIFIC), entry(PTX, 120))
    relocatable = container(entry(CUBIN, 100, FAMILY | ZSTANDARD))
    files = {
        "nccl/lib/libnccl.so.2": library({"__nv_relfatbin": relocatable, ".nv_fatbin": code * 2}),
        "nccl/lib/libplain.so": library({".text": code, ".rodata": b"no GPU code"}),
        "nccl/lib/text.so": b"INPUT(libnccl.so.2)",
    }
    site.install("nvidia-nccl", files)
    # cuFFT has its containers among other data, and code for nvJitLink.
    data = b"data" + container(entry(LTO, 50), entry(CUBIN, 80))
    site.install("nvidia-cufft", {"cufft/lib/libcufft.so.11": library({".ldata": data})})
    assert probe(site, "", "90", "100") == (
        0,
        f"nvidia-cufft: lto_50 {64 + KERNEL}, sm_80 {64 + KERNEL}\n"
        f"nvidia-nccl: compute_120 {2 * (96 + KERNEL)}, sm_90 {2 * (64 + KERNEL // 2)}, "
        f"sm_90a {2 * (64 + KERNEL)}, sm_100f {96 + KERNEL // 2}\n",
    )


# What a library has, and the GPUs of these five that it runs on.
GPUS = ("75", "86", "90", "100", "103")
RUNS: Sequence[tuple[tuple[int, int, int], Sequence[str]]] = (
    ((CUBIN, 80, 0), ["86"]),
    ((CUBIN, 90, SPECIFIC), ["90"]),
    ((CUBIN, 100, SPECIFIC), ["100"]),
    ((CUBIN, 100, FAMILY), ["100", "103"]),
    ((CUBIN, 100, 0), ["100", "103"]),
    ((PTX, 80, 0), ["86", "90", "100", "103"]),
    ((PTX, 90, SPECIFIC), ["90"]),
    ((PTX, 100, FAMILY), ["100", "103"]),
    ((LTO, 50, 0), list(GPUS)),
    ((64, 75, 0), []),  # a kind that is not known
)


def test_what_runs_on_a_gpu_is_as_the_programming_guide_has_it(site: Site) -> None:
    """CUDA C++ Programming Guide, "Compute Capabilities": feature set compiler targets."""
    for number, (code, _) in enumerate(RUNS):
        text = library({".nv_fatbin": container(entry(*code))})
        site.install(f"kind-{number}", {f"kind_{chr(97 + number)}/lib.so": text})
    _, error = probe(site, "", *GPUS)
    lacking = dict(re.findall(r"of kind-(\d+) has no code for (.*?);", error))
    for number, (code, good) in enumerate(RUNS):
        absent = lacking.get(str(number), "").split(", ")
        assert [each for each in GPUS if each not in absent] == good, code


def test_a_library_that_lacks_a_gpu_is_named_and_may_be_allowed(site: Site) -> None:
    site.install(
        "flash-attn",
        {
            "flash/one.so": library({".nv_fatbin": container(entry(CUBIN, 80))}),
            "flash/lib/libtwo.so.2": library({".nv_fatbin": container(entry(CUBIN, 90))}),
        },
    )
    assert probe(site, "", "86", "90") == (
        1,
        "flash/one.so of flash-attn has no code for 90; it has sm_80\n"
        "flash/lib/libtwo.so.2 of flash-attn has no code for 86; it has sm_90\n"
        "lock versions of these packages that are compiled for all 'architectures' of the target; "
        "or, if the image does not use these files on such a GPU, add to the target: "
        'uncovered = ["libtwo.so.*", "one.so"]\n',
    )
    assert probe(site, "libtwo.so.*,one.so", "86", "90")[0] == 0


def test_variants_cover_the_architectures_together(site: Site) -> None:
    files = {
        f"kernels/sm{number}/ops.so": library({".nv_fatbin": container(entry(CUBIN, number))})
        for number in (90, 100)
    }
    site.install("kernels", files)
    assert probe(site, "", "90", "100")[0] == 0


def test_a_library_that_has_no_kernel_lacks_nothing(site: Site) -> None:
    """As `libcufftw.so.11`: nvcc links an empty cubin for its default architecture."""
    empty = container(entry(CUBIN, 52, size=EMPTY), entry(CUBIN, 52, LZ4, size=EMPTY))
    site.install("nvidia-cufft", {"cufft/lib/libcufftw.so.11": library({".nv_fatbin": empty})})
    assert probe(site, "", "90") == (0, "no GPU code\n")


def test_code_of_an_unknown_format_is_an_error(site: Site) -> None:
    site.install("future", {"future/lib.so": library({".nv_fatbin": b"\x51\xed\x55\xba" * 8})})
    assert probe(site, "", "90") == (1, "lib.so has GPU code in .nv_fatbin of an unknown format\n")


def test_a_build_of_pytorch_for_the_cpu_is_refused(site: Site) -> None:
    site.install("torch", {"torch/__init__.py": "1 / 0", "torch/lib/libtorch.so": library({})})
    status, error = probe(site, "", "90")
    assert status == 1
    assert error.startswith("PyTorch has no GPU code: it is a build for the CPU")


def test_the_report_has_bytes_by_architecture() -> None:
    output = "nvidia-cufft: lto_50 7, sm_80 5\nnvidia-nccl: sm_80 3, sm_90 4, sm_100f 1"
    found: list[dict[str, Any]] = [{"probes": [{"probe": "architectures", "output": output}]}]
    assert by_architecture([*found, {"probes": []}]) == [
        {"architecture": "lto_50", "bytes": 7, "packages": {"nvidia-cufft": 7}},
        {
            "architecture": "sm_80",
            "bytes": 8,
            "packages": {"nvidia-cufft": 5, "nvidia-nccl": 3},
        },
        {"architecture": "sm_90", "bytes": 4, "packages": {"nvidia-nccl": 4}},
        {"architecture": "sm_100f", "bytes": 1, "packages": {"nvidia-nccl": 1}},
    ]


@pytest.mark.slow
@pytest.mark.network
def test_a_wheel_has_the_entries_that_cuobjdump_lists(site: Site, tmp_path: Path) -> None:
    """NVIDIA's own reader of the same file; it names the architecture of each entry."""
    argv = [sys.executable, "-m", "pip", "--python", str(site.python), "install", "--quiet"]
    wheels = ["nvidia-curand-cu12==10.3.10.19", "nvidia-cuda-cuobjdump==13.5.37"]
    command.run([*argv, "--no-deps", *wheels], env=process_environ())
    [program] = site.packages.glob("nvidia/**/bin/cuobjdump")
    library = site.packages / "nvidia/curand/lib/libcurand.so.10"
    named: set[str] = set()
    for flag, kind in (("--list-elf", "sm"), ("--list-ptx", "compute")):
        listed = command.run([program, flag, library], cwd=tmp_path).stdout.decode()
        named.update(f"{kind}_{each}" for each in re.findall(r"\.sm_(\w+)\.", listed))
    status, output = probe(site, "", "50", "90", "121")
    assert status == 0
    found = by_architecture([{"probes": [{"probe": "architectures", "output": output}]}])
    assert {each["architecture"] for each in found} == named
