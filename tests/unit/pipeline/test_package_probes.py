"""The probes `imports` and `libraries`: what wheels may lack and still be good.

Distributions are as PEP 376 and PEP 627 lay them out, core metadata as PyPA specifies it; shared
libraries are ELF files of the System V ABI that hold their dynamic section alone.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.unit.pipeline.conftest import Site

WANTS_WEB = """\
try:
    import web_server
except ImportError as error:
    raise ImportError(f"install service[web]: {error}") from None
"""
TBB = "numeric/pool.cpython-311-x86_64-linux-gnu.so"
GUARDED = """\
def start():
    try:
        from numeric import pool
    except ImportError:
        pass
"""
TORCH = {
    "torch/_C.so": ["libtorch_python.so"],
    "torch/lib/libtorch_python.so": ["libtorch.so"],
    "torch/lib/libtorch.so": ["libtorch_cpu.so", "libtorch_cuda.so"],
    "torch/lib/libtorch_cpu.so": ["libc10.so"],
    "torch/lib/libtorch_cuda.so": ["libc10.so", "libnccl.so.2"],
    "torch/lib/libc10.so": ["libc.so.6"],
}
KERNELS = {
    "bits/libbits_cpu.so": ["libc.so.6"],
    "bits/libbits_cuda121.so": ["libcublas.so.12"],
    "bits/libbits_cuda130.so": ["libcublas.so.13"],
    "bits/libbits_rocm64.so": ["libhipblas.so.2"],
}
CODECS = {
    f"codec/{part}{number}.so": [name, f"libavutil.so.{number + 52}"]
    for number in (6, 7)
    for part, name in (("libcore", "libc.so.6"), ("libops", f"libcore{number}.so"))
}


def test_an_import_that_wants_an_extra_that_was_not_asked_for_passes(site: Site) -> None:
    site.install(
        "service",
        {"service/__init__.py": "", "serviced/__init__.py": WANTS_WEB},
        ['web-server>=3; extra == "web"', "colors; extra == 'colors'"],
    )
    said = "serviced of service is left out: web-server of its extra web is not installed\nservice"
    assert site.probe("imports", "service")[:2] == (0, f"{said}\n")


@pytest.mark.parametrize(
    ("files", "requires"),
    [
        pytest.param({"service.py": "", "serviced.py": WANTS_WEB}, [], id="nobody requires it"),
        pytest.param(
            {"service.py": "", "serviced.py": WANTS_WEB},
            ["web-server", "web-server; extra == 'web'"],
            id="the package itself requires it",
        ),
        pytest.param(
            {"serviced.py": WANTS_WEB}, ["web-server; extra == 'web'"], id="nothing else is in it"
        ),
    ],
)
def test_an_import_that_lacks_something_else_fails(
    files: Mapping[str, str], requires: Sequence[str], site: Site
) -> None:
    site.install("service", files, requires)
    status, _, error = site.probe("imports", "service")
    assert status == 1
    assert error.endswith("importing service failed with exit code 1\n")


@pytest.mark.parametrize(
    ("module", "package"),
    [("yaml", "PyYAML"), ("dateutil", "python-dateutil"), ("cv2", "opencv-python-headless")],
)
def test_a_module_whose_distribution_has_another_name_is_known(
    module: str, package: str, site: Site
) -> None:
    files = {"service.py": "", "serviced.py": f"import {module}"}
    site.install("service", files, [f"{package}; extra == 'all'"])
    assert site.probe("imports", "service")[0] == 0


def test_each_package_is_imported_in_a_process_of_its_own(site: Site) -> None:
    site.install("first", {"first.py": "import sys; sys.modules['second'] = None"})
    site.install("second", {"second.py": ""})
    assert site.probe("imports", "first", "second")[:2] == (0, "first\nsecond\n")


def test_a_package_that_crashes_is_named(site: Site) -> None:
    site.install("good", {"good.py": ""})
    site.install("bad", {"bad.py": "import os; os.kill(os.getpid(), 11)"})
    status, _, error = site.probe("imports", "good", "bad")
    assert (status, error) == (1, "importing bad failed with exit code -11\n")


def test_packages_in_a_namespace_are_imported(site: Site) -> None:
    """PEP 420: `cloud` has no `__init__.py`, as `google/cloud/storage` of its wheel."""
    files = {"cloud/storage/__init__.py": "", "cloud/storage/inner/__init__.py": "1 / 0"}
    site.install("cloud-storage", {**files, "cloud/tests/__init__.py": "1 / 0"})
    assert site.probe("imports", "cloud-storage")[:2] == (0, "cloud.storage\n")


def test_a_package_without_a_record_has_the_names_of_its_top_level(site: Site) -> None:
    """PEP 627 makes RECORD optional."""
    site.install("old", {"plain.py": "", "old-1.dist-info/top_level.txt": "plain\n"}, record=False)
    assert site.probe("imports", "old")[:2] == (0, "plain\n")


def shared_library(needed: Sequence[str], machine: int = 0) -> bytes:
    """A 64-bit ELF file that names other libraries in its dynamic section (DT_NEEDED is 1)."""
    own = Path(sys.executable).resolve().read_bytes()[:20]
    machine = machine or struct.unpack_from("<H", own, 18)[0]
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    starts = [names.index(b"\0" + name.encode() + b"\0") + 1 for name in needed]
    table, dynamic = 64 + 2 * 56, 64 + 2 * 56 + len(names)
    tags = [*((1, start) for start in starts), (5, table), (0, 0)]
    entries = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    size = dynamic + len(entries)
    return b"".join(
        (
            b"\x7fELF\x02\x01\x01".ljust(16, b"\0"),
            struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0),
            struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096),
            struct.pack("<IIQQQQQQ", 2, 4, dynamic, dynamic, 0, len(entries), len(entries), 8),
            names,
            entries,
        )
    )


def wheel(files: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    return {path: shared_library(needed) for path, needed in files.items()}


# Each package's files with what they link against, and the libraries that it fails for want of.
WHEELS: Mapping[str, tuple[Mapping[str, Sequence[str]], Sequence[str]]] = {
    "one-variant-is-complete": (KERNELS, []),
    "no-variant-is-complete": (
        {path: names for path, names in KERNELS.items() if "cpu" not in path},
        ["libhipblas.so.2"],
    ),
    "variants-that-link-their-own-kind": (CODECS, ["libavutil.so.59"]),
    "a-complete-one-among-those": (
        {**CODECS, "codec/libcore5.so": [], "codec/libops5.so": ["libcore5.so"]},
        [],
    ),
    "a-part-that-others-link-against": (TORCH, ["libnccl.so.2"]),
    "variants-in-directories": ({"x/cpu/a.so": ["libc.so.6"], "x/cuda/a.so": ["libcu.so.1"]}, []),
    "two-libraries": ({"x/lib.so": ["libc.so.6"], "x/other.so": ["libx.so.6"]}, ["libx.so.6"]),
}
NAMED = re.compile(r"(\S+?)/.* needs (\S+), which")


def lacking(site: Site, cuda: str, *packages: str) -> list[tuple[str, str]]:
    """The packages that the probe names, and the libraries."""
    return NAMED.findall(site.probe("libraries", "", cuda, *packages)[2])


def test_a_library_counts_only_where_this_machine_loads_it(site: Site) -> None:
    for package, (files, _) in WHEELS.items():
        site.install(package, wheel({f"{package}/{path}": files[path] for path in files}))
    (site.packages / "libc.so.6").touch()
    assert lacking(site, "", *WHEELS) == sorted(
        ((package, name) for package, (_, names) in WHEELS.items() for name in names),
        key=lambda each: each[1],
    )


@pytest.mark.parametrize(("cuda", "libraries"), [("13", ["libcublas.so.13"]), ("11", [])])
def test_the_variant_of_the_target_must_be_complete(
    cuda: str, libraries: Sequence[str], site: Site
) -> None:
    site.install("bits", wheel(KERNELS))
    (site.packages / "libc.so.6").touch()
    assert lacking(site, cuda, "bits") == [("bits", name) for name in libraries]


def test_a_library_for_another_processor_passes(site: Site) -> None:
    """183 is EM_AARCH64, 62 EM_X86_64 (elf.h)."""
    here = shared_library([])[18]
    other = shared_library(["ld-linux-aarch64.so.1"], machine=62 if here == 183 else 183)
    site.install("example", {"example/attach.so": other})
    assert site.probe("libraries", "", "", "example")[0] == 0


@pytest.mark.parametrize(("source", "status"), [(GUARDED, 0), ("from numeric import pool\n", 1)])
def test_a_module_that_the_package_expects_to_lack_passes(
    source: str, status: int, site: Site
) -> None:
    """As numba's `tbbpool`, which wants Intel's libtbb."""
    site.install("numeric", {**wheel({TBB: ["libtbb.so.12"]}), "numeric/parallel.py": source})
    assert site.probe("libraries", "", "", "numeric")[0] == status


def test_what_is_missing_is_one_line_a_library_and_the_line_to_write(site: Site) -> None:
    files = {"a/one.so": ["libx.so.6", "liby.so"], "a/two.so": ["libx.so.6"]}
    site.install("example", wheel(files))
    assert site.probe("libraries", "", "", "example")[2] == (
        "a/one.so (and 1 more) needs libx.so.6, which is not installed\n"
        "a/one.so needs liby.so, which is not installed\n"
        "add the distribution's package that has it to 'packages' of the group; or, if the image "
        'does not use these files, add to the group: missing = ["libx.so.*", "liby.so"]\n'
    )
    assert site.probe("libraries", "libx.so.*,liby.so", "", "example")[0] == 0


@pytest.mark.slow
@pytest.mark.network
def test_wheels_of_the_index_pass(site: Site) -> None:
    """Black has `blackd` (aiohttp), bitsandbytes 15 devices, numba wants libtbb."""
    required = ["black", "numba", "opencv-python-headless", "pyyaml", "google-cloud-storage"]
    argv = [sys.executable, "-m", "pip", "--python", str(site.python), "install", "--quiet"]
    command.run([*argv, *required], env=process_environ())
    command.run([*argv, "--no-deps", "bitsandbytes"], env=process_environ())
    status, output, error = site.probe("imports", *required)
    assert status == 0, error
    assert "blackd of black is left out: aiohttp of its extra d is not installed\n" in output
    assert {"black", "numba", "cv2", "yaml", "google.cloud.storage"} <= set(output.splitlines())
    status, _, error = site.probe("libraries", "", "", "bitsandbytes", *required)
    assert status == 0, error
    assert lacking(site, "12", "bitsandbytes")
