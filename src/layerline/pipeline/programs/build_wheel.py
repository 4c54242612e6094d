"""Builds a wheel from its source reproducibly, without rights and without a network.

    build_wheel.py PYTHON SOURCE OUTPUT [PLACE]

Run as root; the source's own code is confined by `sandbox.py`. SOURCE is a project, or a directory
with the archive of one. PYTHON has what `build-system` requires, whose backend is called (PEP 517).
With PLACE, the directory of the source in the image, the wheel is an editable one (PEP 660).

Writes the wheel, its METADATA, and requirements.txt with its hash to OUTPUT. Times and modes in the
wheel are normalised. A wheel is built twice, unless that takes long: one that differs is named.
Prints its name, version and hash, the seconds, and which of its files differ.
"""

import base64
import csv
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from typing import Any

from layerline.pipeline.programs import sandbox
from layerline.pipeline.programs.sandbox import NOBODY

# Python 3.10 has none, but the installer's pip next to it does.
TOML = "tomllib" if importlib.util.find_spec("tomllib") else "pip._vendor.tomli"

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
EPOCH = 315532800
FIRST_DATE = (1980, 1, 1, 0, 0, 0)
WORK = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "build"
SCM_VERSION = ("SETUPTOOLS_SCM_PRETEND_VERSION",)
# What takes longer is not built a second time.
LONGEST_SECONDS = 60.0
# What builds a source without `build-system` (PEP 517), as pip and uv have it.
LEGACY = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}
CONFINED = (sys.executable, "-I", sandbox.__file__)
# Absolute paths would be in what a compiler writes.
MAPS = f"-ffile-prefix-map={WORK}=. -fdebug-prefix-map={WORK}=."
HOOK = """
import importlib, sys
backend, hook, output, *paths = sys.argv[1:]
sys.path[:1] = paths
module, _, attributes = backend.partition(":")
found = importlib.import_module(module)
for each in filter(None, attributes.split(".")):
    found = getattr(found, each)
if not hasattr(found, hook):
    sys.exit(f"the build backend {backend} has no {hook}")
print("wheel:", getattr(found, hook)(output))
"""
HINTS = (
    (
        r"No module named '(?P<name>[\w.]+)'",
        "the build imports {name}: add what has it to build-system.requires, and lock again",
    ),
    (
        r"command '\S*(gcc|g\+\+|cc|c\+\+|clang)\S*' failed"
        r"|No such file or directory: '(\S+-)?(gcc|g\+\+|cc|c\+\+)'"
        r"|Python\.h: No such file|CMAKE_CX*_COMPILER|Unknown compiler|No CMAKE_",
        'a compiler is missing: add build_packages = ["build-essential", "python3-dev"] to [base]',
    ),
    (
        r"name resolution|Network is unreachable|Failed to establish a new connection",
        "a build has no network: everything that it needs is in build-system.requires",
    ),
    (
        r"setuptools.scm was unable to detect version|Error getting the version from source `vcs`",
        "its version comes from git, which a build does not see: set fallback_version",
    ),
)


def find_archive(source: pathlib.Path) -> pathlib.Path | None:
    """The archive that is all that a source has."""
    within = list(source.iterdir())
    return within[0] if len(within) == 1 and within[0].name.endswith(ARCHIVES) else None


def unpack(source: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    """Copy a source, which is nobody's then; returns the directory of the project."""
    shutil.rmtree(place, ignore_errors=True)
    archive = find_archive(source)
    if archive is None:
        shutil.copytree(source, place, symlinks=True)
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", place], check=True)
        return place
    place.mkdir(parents=True)
    os.chown(place, NOBODY, NOBODY)
    code = "import shutil, sys; shutil.unpack_archive(*sys.argv[1:])"
    subprocess.run([*CONFINED, sys.executable, "-c", code, archive, place], check=True)
    inside = list(place.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else place


def build_system(project: pathlib.Path) -> dict[str, Any]:
    """The table of pyproject.toml; without one, what PEP 517 says."""
    # It may be a link to a file that strangers cannot read.
    argv = [*CONFINED, "cat", str(project / "pyproject.toml")]
    text = subprocess.run(argv, capture_output=True, check=False).stdout.decode()
    found = importlib.import_module(TOML).loads(text).get("build-system", {})
    return {**LEGACY, **found}


def build(python: str, source: pathlib.Path, place: str) -> pathlib.Path:
    """Call the backend with a copy of the source; returns its wheel."""
    project = unpack(source, pathlib.Path(place) if place else WORK / "source")
    output, home = fresh_directories()
    system = build_system(project)
    argv = [
        *(*CONFINED, python, "-c", HOOK, system["build-backend"]),
        *("build_editable" if place else "build_wheel", str(output)),
        *(str(project / path) for path in system.get("backend-path", [])),
    ]
    said = run(argv, project, environment(home))
    names = re.findall(r"^wheel: (\S+\.whl)$", said, re.MULTILINE)
    if not names:
        hints = [text.format(**found.groupdict()) for text, found in matches(said)]
        sys.exit("\n".join(["the wheel cannot be built", *dict.fromkeys(hints)]))
    return output / pathlib.Path(names[-1]).name


def fresh_directories() -> tuple[pathlib.Path, pathlib.Path]:
    """Empty directories of nobody's: for what a backend makes, and its home."""
    found = WORK / "output", WORK / "home"
    for each in found:
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir(parents=True)
        os.chown(each, NOBODY, NOBODY)
    return found


def run(argv: list[str], project: pathlib.Path, environ: dict[str, str]) -> str:
    """What a program prints, which is shown as well; empty lines if it fails."""
    lines = []
    with subprocess.Popen(
        argv,
        cwd=project,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)
            lines.append(line)
    if process.returncode:
        lines = [line for line in lines if not line.startswith("wheel: ")]
    return "".join(lines)


def environment(home: pathlib.Path) -> dict[str, str]:
    """The variables of a build: the same everywhere."""
    flags = dict.fromkeys(("CFLAGS", "CXXFLAGS", "FFLAGS"), MAPS)
    given = {name: os.environ[name] for name in SCM_VERSION if os.environ.get(name)}
    return {
        **flags,
        **given,
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "RUSTFLAGS": f"--remap-path-prefix={WORK}=.",
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "TMPDIR": str(home),
        "TZ": "UTC",
    }


def matches(said: str) -> Iterator[tuple[str, "re.Match[str]"]]:
    """The hints for what a build said."""
    for pattern, text in HINTS:
        if found := re.search(pattern, said):
            yield text, found


def contents(wheel: pathlib.Path, notes: dict[str, bytes]) -> dict[str, tuple[bytes, int]]:
    """The files of a wheel with their modes, sorted; RECORD is the last one.

    `notes` are further files of its metadata.
    """
    with zipfile.ZipFile(wheel) as archive:
        found = {
            each.filename: (
                archive.read(each),
                0o755 if each.external_attr >> 16 & 0o111 else 0o644,
            )
            for each in archive.infolist()
            if not each.is_dir()
        }
    [record] = [name for name in found if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)]
    lines = [row for row in csv.reader(io.StringIO(found.pop(record)[0].decode())) if row]
    for note, data in notes.items():
        name = record.replace("RECORD", note)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        found[name] = (data, 0o644)
        lines.append([name, f"sha256={digest}", str(len(data))])
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows(sorted(lines))
    return {**dict(sorted(found.items())), record: (rows.getvalue().encode(), 0o644)}


def installer_notes(place: str, *, archived: bool) -> dict[str, bytes]:
    """What uv itself would add to the metadata: where a project is, that a package was built."""
    if place:  # PEP 610
        origin = {"dir_info": {"editable": True}, "url": f"file://{place}"}
        return {"direct_url.json": json.dumps(origin).encode()}
    return {"uv_build.json": b"{}"} if archived else {}


def write(files: dict[str, tuple[bytes, int]], wheel: pathlib.Path) -> str:
    """Write a wheel with one time; returns its hash."""
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, (data, mode) in files.items():
            entry = zipfile.ZipInfo(name, FIRST_DATE)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def main() -> None:
    """Build, compare and write."""
    python, source, output = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    place = "".join(sys.argv[4:])
    begin = time.monotonic()
    os.umask(0o022)
    wheel = build(python, source, place)
    notes = installer_notes(place, archived=find_archive(source) is not None)
    name, files = wheel.name, contents(wheel, notes)
    again = files
    if time.monotonic() - begin < LONGEST_SECONDS:
        again = contents(build(python, source, place), notes)
    differ = [each for each in sorted({*files, *again}) if files.get(each) != again.get(each)]
    metadata = next(data for each, (data, _) in files.items() if each.endswith("-info/METADATA"))
    fields = HeaderParser().parsestr(metadata.decode())
    output.mkdir(parents=True, exist_ok=True)
    digest = write(files, output / name)
    pinned = f"{re.sub(r'[-_.]+', '-', fields['Name']).lower()}=={fields['Version']}"
    (output / "METADATA").write_bytes(metadata)
    (output / "requirements.txt").write_text(f"{pinned} --hash=sha256:{digest}\n")
    if differ := [each for each in differ if not each.endswith("/RECORD")]:
        print(
            f"warning: {pinned} differs from build to build ({', '.join(differ)}); "
            f"the image has the wheel sha256:{digest}",
            file=sys.stderr,
        )
    seconds = round(time.monotonic() - begin, 3)
    print(json.dumps({"wheel": pinned, "sha256": digest, "differ": differ, "seconds": seconds}))


if __name__ == "__main__":
    main()
