"""Installs locked wheels into a prefix reproducibly.

    install.py PREFIX UV [ARGUMENT ...]

Runs UV with the arguments and those of the file /mnt/arguments, one in each line; it reads the
requirements from stdin, trusts the certificates in $CA_BUNDLE if that is not empty, and uses only
its cache if that has all wheels or $OFFLINE is not empty. Then removes bytecode, sorts the RECORD
files and gives all new files one timestamp. Prints the seconds that this took, the bytes of each
downloaded wheel, and where the Python files of each wheel are, as JSON.
"""

import contextlib
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator

# uv prints this for large wheels.
DOWNLOADING = re.compile(r"^Downloading (?P<name>\S+) \((?P<size>[\d.]+)(?P<unit>[KMG]?)i?B\)")
BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
EPOCH = 315532800
NOTE = "uv_cache.json"
CACHE = "/__pycache__"
RECORD = "RECORD"
PAGE_SECONDS = 5.0
# Layers are installed at the same time: 50 connections for each, as uv opens, are too many for a
# proxy or a registry, which then lets the rest time out. One that did is tried more often.
CONNECTIONS = "4"
RETRIES = "6"
# Of one path: an engine may not look at the content of a larger directory.
MOST_FILES = 2000
ARGUMENTS = pathlib.Path("/mnt/arguments")


def normalise(prefix: pathlib.Path) -> None:
    """Remove what differs between installations; files with the timestamp are not touched."""
    for directory, names, files in os.walk(prefix, topdown=False):
        if directory.endswith(CACHE):
            shutil.rmtree(directory)
            continue
        if directory.endswith(".dist-info") and RECORD in files:
            sort_record(pathlib.Path(directory, RECORD))
        for name in (*names, *files):
            touch(f"{directory}/{name}")
    touch(os.fspath(prefix))


def sort_record(record: pathlib.Path) -> None:
    """Sort a RECORD, and leave out the installer's note about where a wheel lay, with its time."""
    record.with_name(NOTE).unlink(missing_ok=True)
    lines = sorted(record.read_text().splitlines(keepends=True))
    noted = f"{record.parent.name}/{NOTE},"
    record.write_text("".join(line for line in lines if not line.startswith(noted)))


def touch(path: str) -> None:
    """Give an entry the timestamp; what was removed meanwhile has none."""
    with contextlib.suppress(FileNotFoundError):
        if int(os.lstat(path).st_mtime) != EPOCH:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def modules(prefix: pathlib.Path) -> dict[str, dict[str, tuple[int, int]]]:
    """The paths with the Python files of each wheel, with the numbers of these files and bytes.

    They are the fewest that have no other wheel's, and no more than MOST_FILES. What no RECORD
    (PEP 376) names is that of a wheel without a name.
    """
    owners: dict[str, str] = {}
    for record in prefix.rglob("*.dist-info/RECORD"):
        site = str(record.parent.parent.relative_to(prefix))
        for row in csv.reader(record.read_text().splitlines()):
            if row and row[0].endswith(".py"):
                owners[f"{site}/{row[0]}"] = record.parent.name.partition("-")[0]
    files = sorted(python_files(prefix))
    own: dict[str, list[str]] = {}
    for path in files:
        own.setdefault(path.rpartition("/")[0], []).append(owners.get(path, ""))
    counts: dict[str, int] = {}
    wheels: dict[str, set[str]] = {}
    for directory, names in own.items():
        for place in places(directory):
            counts[place] = counts.get(place, 0) + len(names)
            wheels.setdefault(place, set()).update(names)
    fitting = {place for place in counts if counts[place] <= MOST_FILES and len(wheels[place]) == 1}
    tops = {each: next((place for place in places(each) if place in fitting), "") for each in own}
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for path in files:
        paths = found.setdefault(owners.get(path, ""), {})
        top = tops[path.rpartition("/")[0]] or path
        count, size = paths.get(top, (0, 0))
        paths[top] = count + 1, size + os.lstat(f"{prefix}/{path}").st_size
    return dict(sorted(found.items()))


def python_files(prefix: pathlib.Path) -> Iterator[str]:
    """The Python files in site-packages, by their paths below the prefix."""
    for site in prefix.glob("lib/python*/site-packages"):
        for directory, _, names in os.walk(site):
            place = os.path.relpath(directory, prefix)
            yield from (f"{place}/{name}" for name in names if name.endswith(".py"))


def places(path: str) -> Iterator[str]:
    """The directories that lead to a directory, and the directory."""
    steps = path.split("/")
    return ("/".join(steps[:depth]) for depth in range(1, len(steps) + 1))


def given_arguments() -> list[str]:
    """Where this machine has wheels from; none where nobody says so."""
    argv = ARGUMENTS.read_text().split("\n") if ARGUMENTS.exists() else []
    places = [arg.removeprefix("--find-links=") for arg in argv if arg.startswith("--find-links=/")]
    for place in [*places, os.environ.get("CA_BUNDLE", "")]:
        if place and not pathlib.Path(place).exists():
            sys.exit(f"{place} is missing from the cache volume")
    return [arg for arg in argv if arg]


def pages() -> list[str]:
    """The pages of single packages; none where no network is to be used."""
    return [] if os.environ.get("OFFLINE") else os.environ.get("INDEX_PAGES", "").split()


def reached_pages() -> Iterator[str]:
    """Yield the pages of single packages that can be reached, as an argument each."""
    for page in pages():
        try:
            urllib.request.urlopen(page, timeout=PAGE_SECONDS).close()
        except OSError as exc:
            print(f"warning: {page} is left out: {exc}", file=sys.stderr)
        else:
            yield f"--find-links={page}"


def trust() -> None:
    """Let programs that are started trust the user's own certificates."""
    if bundle := os.environ.get("CA_BUNDLE"):
        os.environ.update(SSL_CERT_FILE=bundle, PIP_CERT=bundle)


def install(argv: list[str]) -> dict[str, int]:
    """Run the installer; return the bytes of its downloads by package.

    Hashes decide what is installed. So where all wheels are cached no index is asked, which would
    delay it and change nothing.
    """
    wanted = sys.stdin.buffer.read()
    found = [f"--find-links={page}" for page in pages()]
    cached = subprocess.run(
        [*argv, *found, "--offline"],
        input=wanted,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    is_offline = bool(os.environ.get("OFFLINE"))
    if is_offline or not cached.returncode:
        print(cached.stdout.decode(errors="replace"), end="", file=sys.stderr, flush=True)
    if not cached.returncode:
        return {}
    if is_offline:
        sys.exit("not all wheels are cached: run the same command once without --offline.")
    return download([*argv, *reached_pages()], wanted)


def download(argv: list[str], wanted: bytes) -> dict[str, int]:
    """Run the installer with an index; return the bytes of its downloads by package."""
    downloaded: dict[str, int] = {}
    with tempfile.TemporaryFile() as requirements:
        requirements.write(wanted)
        requirements.seek(0)
        with subprocess.Popen(
            argv, stdin=requirements, stdout=sys.stderr, stderr=subprocess.PIPE, text=True
        ) as process:
            for line in process.stderr or ():
                print(line, end="", file=sys.stderr, flush=True)
                if found := DOWNLOADING.match(line):
                    size = float(found["size"]) * BYTES[found["unit"]]
                    downloaded[found["name"]] = round(size)
    if process.returncode:
        sys.exit(process.returncode)
    return downloaded


if __name__ == "__main__":
    begin = time.monotonic()
    trust()
    os.environ.setdefault("UV_CONCURRENT_DOWNLOADS", CONNECTIONS)
    os.environ.setdefault("UV_HTTP_RETRIES", RETRIES)
    downloaded = install([*sys.argv[2:], *given_arguments()])
    prefix = pathlib.Path(sys.argv[1])
    normalise(prefix)
    seconds = round(time.monotonic() - begin, 3)
    found = {"seconds": seconds, "downloaded": downloaded, "modules": modules(prefix)}
    print(json.dumps(found))
